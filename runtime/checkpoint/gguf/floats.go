package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/x448/float16"

	"mop/runtime/checkpoint"
)

// shortest is the float64 that is written as the shortest decimal of a float32.
func shortest(x float32) float64 {
	y, err := strconv.ParseFloat(strconv.FormatFloat(float64(x), 'g', -1, 32), 64)
	if err != nil {
		return float64(x) // infinities and NaN
	}
	return y
}

// encode writes values in a type, rounded to nearest, even among equals. The index of
// the first value that is not finite in it is an error.
func encode(dst []byte, src []float32, d checkpoint.DType) error {
	const exponent = 0x7f800000
	switch d {
	case checkpoint.F32:
		for i, x := range src {
			bits := math.Float32bits(x)
			if bits&exponent == exponent {
				return &notFinite{i, x, d}
			}
			binary.LittleEndian.PutUint32(dst[4*i:], bits)
		}
	case checkpoint.F16:
		for i, x := range src {
			h := toF16(x)
			if h&0x7c00 == 0x7c00 {
				return &notFinite{i, x, d}
			}
			binary.LittleEndian.PutUint16(dst[2*i:], h)
		}
	case checkpoint.BF16:
		for i, x := range src {
			bits := math.Float32bits(x)
			rounded := bits + 0x7fff + bits>>16&1
			if bits&exponent == exponent || rounded&exponent == exponent {
				return &notFinite{i, x, d}
			}
			binary.LittleEndian.PutUint16(dst[2*i:], uint16(rounded>>16))
		}
	}
	return nil
}

// toF16 is a float32 as a float16. Nearly all weights are normal numbers of float16, for
// which rounding the mantissa and moving the exponent is much faster than the library.
func toF16(x float32) uint16 {
	const smallest, tooLarge = 113 << 23, 143 << 23 // 2^-14 and 2^16
	bits := math.Float32bits(x)
	if a := bits &^ (1 << 31); a-smallest < tooLarge-smallest {
		a -= 112 << 23
		return uint16((a+0xfff+a>>13&1)>>13) | uint16(bits>>16&0x8000)
	}
	return float16.Fromfloat32(x).Bits()
}

// notFinite says that an element has no finite value in the type to be written.
type notFinite struct {
	at    int
	value float32
	dtype checkpoint.DType
}

func (e *notFinite) Error() string {
	if v := float64(e.value); math.IsNaN(v) || math.IsInf(v, 0) {
		return fmt.Sprintf("element %d is not finite", e.at)
	}
	return fmt.Sprintf("element %d: %v does not fit in %s; write it as bf16 or f32", e.at, e.value, e.dtype)
}

// checkFinite finds the first element that is not finite.
func checkFinite(data []byte, d checkpoint.DType) error {
	if d == checkpoint.F32 {
		for i := 0; i < len(data); i += 4 {
			if x := math.Float32frombits(binary.LittleEndian.Uint32(data[i:])); math.Float32bits(x)&0x7f800000 == 0x7f800000 {
				return &notFinite{i / 4, x, d}
			}
		}
		return nil
	}
	exponent := uint16(0x7c00)
	if d == checkpoint.BF16 {
		exponent = 0x7f80
	}
	i := 0
	// Four elements at a time: of a lane whose exponent is all ones, lane is 0, and
	// subtracting 1 from it sets its highest bit.
	const ones = 0x0001_0001_0001_0001
	for mask := uint64(exponent) * ones; i+8 <= len(data); i += 8 {
		lanes := ^binary.LittleEndian.Uint64(data[i:]) & mask
		if (lanes-ones)&^lanes&(0x8000*ones) != 0 {
			break
		}
	}
	for ; i < len(data); i += 2 {
		if binary.LittleEndian.Uint16(data[i:])&exponent == exponent {
			return &notFinite{i / 2, float32(math.NaN()), d}
		}
	}
	return nil
}
