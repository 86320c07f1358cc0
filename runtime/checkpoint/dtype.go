package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/x448/float16"

	"mop/runtime/config"
)

// DType is the element type of a stored tensor.
type DType uint8

const (
	F32 DType = iota
	F16
	BF16
)

// Size is the element's size in bytes.
func (d DType) Size() int {
	if d == F32 {
		return 4
	}
	return 2
}

// String is the safetensors name: "F32", "F16", "BF16".
func (d DType) String() string { return [...]string{"F32", "F16", "BF16"}[d] }

// ConfigName is the type's name in config.json: "float32", "float16", "bfloat16".
func (d DType) ConfigName() string { return [...]string{"float32", "float16", "bfloat16"}[d] }

// DTypeOf is the type in which a config stores its weights.
func DTypeOf(c *config.Config) (DType, error) {
	for _, d := range []DType{F32, F16, BF16} {
		if d.ConfigName() == c.DType {
			return d, nil
		}
	}
	return 0, fmt.Errorf("dtype: want float32, float16 or bfloat16, got %q", c.DType)
}

// dtypeNamed finds a type by its safetensors name.
func dtypeNamed(name string) (DType, bool) {
	for _, d := range []DType{F32, F16, BF16} {
		if d.String() == name {
			return d, true
		}
	}
	return 0, false
}

// Float32s converts a tensor's elements to float32, exactly.
func Float32s(t Tensor) []float32 {
	out := make([]float32, len(t.Data)/t.DType.Size())
	for i := range out {
		switch t.DType {
		case F32:
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
		case F16:
			out[i] = float16.Frombits(binary.LittleEndian.Uint16(t.Data[2*i:])).Float32()
		case BF16:
			out[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(t.Data[2*i:])) << 16)
		}
	}
	return out
}

// Encode stores x as one element, rounded to nearest, ties to even.
func Encode(dst []byte, d DType, x float32) {
	switch d {
	case F32:
		binary.LittleEndian.PutUint32(dst, math.Float32bits(x))
	case F16:
		binary.LittleEndian.PutUint16(dst, float16.Fromfloat32(x).Bits())
	case BF16:
		b := math.Float32bits(x)
		if b&0x7fffffff > 0x7f800000 {
			b |= 0x00400000 // keep a NaN a NaN when its low bits are dropped
		} else {
			b += 0x7fff + b>>16&1
		}
		binary.LittleEndian.PutUint16(dst, uint16(b>>16))
	}
}
