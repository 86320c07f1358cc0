package gguf

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/x448/float16"
)

// quantizeQ8_0 writes whole blocks: d = max |x| / 127 as float16, and x / d rounded to
// nearest, halves away from zero. The steps and their roundings are those of ggml's
// quantize_row_q8_0_ref, so that the bytes are the same.
func quantizeQ8_0(dst []byte, src []float32) error {
	for b := 0; b < len(src); b += 32 {
		block, out := src[b:b+32], dst[b/32*34:b/32*34+34]
		largest := float32(0)
		for i, x := range block {
			a := math.Float32frombits(math.Float32bits(x) &^ (1 << 31))
			if !(a <= math.MaxFloat32) {
				return &notFinite{b + i, x, 0}
			}
			largest = max(largest, a)
		}
		d := largest / 127
		inverse := float32(0)
		if d >= 1e-38 { // below, 1/d may be infinite, and d is 0 as float16 anyway
			inverse = 1 / d
		}
		scale := float16.Fromfloat32(d).Bits()
		if scale&0x7c00 == 0x7c00 {
			return fmt.Errorf("element %d: a block of values up to %v does not fit in Q8_0; write it as bf16 or f32", b, largest)
		}
		binary.LittleEndian.PutUint16(out, scale)
		for i, x := range block {
			out[2+i] = byte(int8(roundAway(x * inverse)))
		}
	}
	return nil
}

// roundAway rounds to the nearest integer, halves away from zero. The sum in float64 is
// exact.
func roundAway(x float32) int32 { return int32(float64(x) + math.Copysign(0.5, float64(x))) }
