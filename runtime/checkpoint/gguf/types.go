package gguf

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"mop/runtime/checkpoint"
)

// Type is the type of a tensor's elements, by ggml's number.
type Type uint32

const (
	F32  Type = 0
	F16  Type = 1
	Q4_0 Type = 2
	Q4_1 Type = 3
	Q5_0 Type = 6
	Q5_1 Type = 7
	Q8_0 Type = 8
	Q4_K Type = 12
	Q5_K Type = 13
	Q6_K Type = 14
	BF16 Type = 30
)

// format is how a type stores a block of elements.
type format struct {
	name       string
	elements   int                             // of a block
	bytes      int                             // of a block
	dequantize func(dst []float32, src []byte) // one block
}

var formats = map[Type]format{
	F32:  {"F32", 1, 4, nil},
	F16:  {"F16", 1, 2, nil},
	BF16: {"BF16", 1, 2, nil},
	Q4_0: {"Q4_0", 32, 2 + 16, dequantizeQ4_0},
	Q4_1: {"Q4_1", 32, 2 + 2 + 16, dequantizeQ4_1},
	Q5_0: {"Q5_0", 32, 2 + 4 + 16, dequantizeQ5_0},
	Q5_1: {"Q5_1", 32, 2 + 2 + 4 + 16, dequantizeQ5_1},
	Q8_0: {"Q8_0", 32, 2 + 32, dequantizeQ8_0},
	Q4_K: {"Q4_K", 256, 2 + 2 + 12 + 128, dequantizeQ4_K},
	Q5_K: {"Q5_K", 256, 2 + 2 + 12 + 32 + 128, dequantizeQ5_K},
	Q6_K: {"Q6_K", 256, 128 + 64 + 16 + 2, dequantizeQ6_K},
}

// unsupported names the types that ggml has beside ours, for errors.
var unsupported = map[Type]string{
	9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL",
	21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M",
	34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
}

// String is ggml's name of the type.
func (t Type) String() string {
	if f, ok := formats[t]; ok {
		return f.name
	}
	if name, ok := unsupported[t]; ok {
		return name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// check refuses types that cannot be read.
func (t Type) check() error {
	if _, ok := formats[t]; ok {
		return nil
	}
	if _, ok := unsupported[t]; ok {
		return fmt.Errorf("type %s is not supported: want one of %s", t, supportedNames())
	}
	return fmt.Errorf("unknown tensor type %d", uint32(t))
}

func supportedNames() string {
	var out []string
	for _, f := range formats {
		out = append(out, f.name)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// BlockSize is the number of elements of a block; 1 for types that are not quantized.
func (t Type) BlockSize() int { return formats[t].elements }

// BlockBytes is the size of a block.
func (t Type) BlockBytes() int { return formats[t].bytes }

// DType is the checkpoint's type of the same elements; false for quantized types.
func (t Type) DType() (checkpoint.DType, bool) {
	switch t {
	case F32:
		return checkpoint.F32, true
	case F16:
		return checkpoint.F16, true
	case BF16:
		return checkpoint.BF16, true
	}
	return 0, false
}

var errBlocks = errors.New("want whole blocks")

// Dequantize writes the float32 values of whole blocks: as many as dst holds.
func Dequantize(dst []float32, src []byte, t Type) error {
	if err := t.check(); err != nil {
		return err
	}
	f := formats[t]
	if len(src)%f.bytes != 0 || len(src)/f.bytes*f.elements != len(dst) {
		return fmt.Errorf("%w of %s: %d bytes for %d elements", errBlocks, t, len(src), len(dst))
	}
	switch t {
	case F32:
		widenF32(dst, src)
	case F16:
		widenF16(dst, src)
	case BF16:
		widenBF16(dst, src)
	default:
		for len(dst) > 0 {
			f.dequantize(dst[:f.elements], src[:f.bytes])
			dst, src = dst[f.elements:], src[f.bytes:]
		}
	}
	return nil
}
