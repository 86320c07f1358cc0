package gguf

import (
	"encoding/binary"
	"math"
	"sync"

	"github.com/x448/float16"
)

// The block formats of ggml-common.h. Each function writes one block. Products and
// sums are rounded to float32 one by one, in the order of the gguf package for Python,
// so that the values are the same to the last bit; the explicit conversions keep
// the compiler from fusing a product and a sum.

func half(b []byte) float32 { return float16.Frombits(binary.LittleEndian.Uint16(b)).Float32() }

func widenF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

func widenF16(dst []float32, src []byte) {
	table := halves16()
	for i := range dst {
		dst[i] = table[binary.LittleEndian.Uint16(src[2*i:])]
	}
}

// halves16 are the values of all float16.
var halves16 = sync.OnceValue(func() *[1 << 16]float32 {
	table := new([1 << 16]float32)
	for i := range table {
		table[i] = float16.Frombits(uint16(i)).Float32()
	}
	return table
})

func widenBF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
	}
}

// Q8_0: d f16, 32 int8; x = d q.
func dequantizeQ8_0(dst []float32, src []byte) {
	d, q := half(src), src[2:34]
	for i := range dst[:32] {
		dst[i] = float32(int8(q[i])) * d
	}
}

// Q4_0: d f16, 16 bytes; x = d (q - 8). The low nibbles are the elements 0 to 15,
// the high ones 16 to 31; so in all four types of 4 and 5 bits.
func dequantizeQ4_0(dst []float32, src []byte) {
	d, q := half(src), src[2:18]
	for i, b := range q {
		dst[i] = float32(int(b&15)-8) * d
		dst[i+16] = float32(int(b>>4)-8) * d
	}
}

// Q4_1: d f16, m f16, 16 bytes; x = d q + m.
func dequantizeQ4_1(dst []float32, src []byte) {
	d, m, q := half(src), half(src[2:]), src[4:20]
	for i, b := range q {
		dst[i] = float32(float32(b&15)*d) + m
		dst[i+16] = float32(float32(b>>4)*d) + m
	}
}

// Q5_0: d f16, 32 fifth bits, 16 bytes; x = d (q - 16).
func dequantizeQ5_0(dst []float32, src []byte) {
	d, high, q := half(src), binary.LittleEndian.Uint32(src[2:]), src[6:22]
	for i, b := range q {
		dst[i] = float32(int(b&15)|int(high>>i&1)<<4-16) * d
		dst[i+16] = float32(int(b>>4)|int(high>>(i+16)&1)<<4-16) * d
	}
}

// Q5_1: d f16, m f16, 32 fifth bits, 16 bytes; x = d q + m.
func dequantizeQ5_1(dst []float32, src []byte) {
	d, m, high, q := half(src), half(src[2:]), binary.LittleEndian.Uint32(src[4:]), src[8:24]
	for i, b := range q {
		dst[i] = float32(float32(int(b&15)|int(high>>i&1)<<4)*d) + m
		dst[i+16] = float32(float32(int(b>>4)|int(high>>(i+16)&1)<<4)*d) + m
	}
}

// scaleMin is the 6-bit scale and minimum of sub-block j of 8, from the 12 bytes of
// Q4_K and Q5_K.
func scaleMin(j int, packed []byte) (scale, minimum float32) {
	if j < 4 {
		return float32(packed[j] & 63), float32(packed[j+4] & 63)
	}
	return float32(packed[j+4]&15 | packed[j-4]>>6<<4), float32(packed[j+4]>>4 | packed[j]>>6<<4)
}

// Q4_K: d f16, dmin f16, 12 bytes of scales and minima for 8 sub-blocks of 32, 128
// bytes; x = d scale q - dmin minimum. Each 32 bytes hold two sub-blocks, the first
// one in the low nibbles.
func dequantizeQ4_K(dst []float32, src []byte) {
	d, dmin, packed, q := half(src), half(src[2:]), src[4:16], src[16:144]
	for j := range 8 {
		s, m := scaleMin(j, packed)
		s, m = d*s, dmin*m
		out, from, shift := dst[32*j:32*j+32], q[j/2*32:], j%2*4
		for i := range out {
			out[i] = float32(s*float32(from[i]>>shift&15)) - m
		}
	}
}

// Q5_K is Q4_K with 32 bytes of fifth bits before the nibbles: bit j of byte i
// belongs to element i of sub-block j.
func dequantizeQ5_K(dst []float32, src []byte) {
	d, dmin, packed, high, q := half(src), half(src[2:]), src[4:16], src[16:48], src[48:176]
	for j := range 8 {
		s, m := scaleMin(j, packed)
		s, m = d*s, dmin*m
		out, from, shift := dst[32*j:32*j+32], q[j/2*32:], j%2*4
		for i := range out {
			out[i] = float32(s*float32(from[i]>>shift&15|high[i]>>j&1<<4)) - m
		}
	}
}

// Q6_K: 128 bytes of low nibbles, 64 of high pairs of bits, 16 int8 scales of
// sub-blocks of 16, d f16; x = d scale (q - 32). Each half of 128 elements has 64
// bytes of nibbles and 32 of pairs.
func dequantizeQ6_K(dst []float32, src []byte) {
	low, high, scales, d := src[:128], src[128:192], src[192:208], half(src[208:])
	for k := range 256 {
		h, i := k/128, k%128 // half, element within it
		nibble := low[64*h+i%64] >> (i / 64 * 4) & 15
		pair := high[32*h+i%32] >> (i / 32 * 2) & 3
		scale := d * float32(int8(scales[k/16]))
		dst[k] = scale * float32(int(nibble|pair<<4)-32)
	}
}
