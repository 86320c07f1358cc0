package random

import (
	"encoding/binary"
	"math"

	"github.com/x448/float16"
)

// FillF32 writes the elements first, first+1, ... of a stream to dst as little-endian
// float32. len(dst) must be a multiple of 4.
func FillF32(dst []byte, key, first uint64, scale float32) {
	if first&1 == 1 && len(dst) >= 4 {
		binary.LittleEndian.PutUint32(dst, math.Float32bits(Uniform(key, first, scale)))
		dst, first = dst[4:], first+1
	}
	z := key + (first>>1)*golden
	for ; len(dst) >= 8; dst, first = dst[8:], first+2 {
		z += golden
		w := mix(z)
		a := math.Float32bits(value(uint32(w), scale))
		b := math.Float32bits(value(uint32(w>>32), scale))
		binary.LittleEndian.PutUint64(dst, uint64(a)|uint64(b)<<32)
	}
	if len(dst) >= 4 {
		binary.LittleEndian.PutUint32(dst, math.Float32bits(Uniform(key, first, scale)))
	}
}

// FillBF16 is FillF32 rounded to bfloat16. len(dst) must be a multiple of 2.
func FillBF16(dst []byte, key, first uint64, scale float32) {
	if first&1 == 1 && len(dst) >= 2 {
		binary.LittleEndian.PutUint16(dst, bf16(Uniform(key, first, scale)))
		dst, first = dst[2:], first+1
	}
	z := key + (first>>1)*golden
	for ; len(dst) >= 4; dst, first = dst[4:], first+2 {
		z += golden
		w := mix(z)
		a := roundBF16(value(uint32(w), scale)) >> 16
		b := roundBF16(value(uint32(w>>32), scale)) &^ 0xffff
		binary.LittleEndian.PutUint32(dst, a|b)
	}
	if len(dst) >= 2 {
		binary.LittleEndian.PutUint16(dst, bf16(Uniform(key, first, scale)))
	}
}

// FillF16 is FillF32 rounded to float16. len(dst) must be a multiple of 2.
func FillF16(dst []byte, key, first uint64, scale float32) {
	if first&1 == 1 && len(dst) >= 2 {
		binary.LittleEndian.PutUint16(dst, f16(Uniform(key, first, scale)))
		dst, first = dst[2:], first+1
	}
	z := key + (first>>1)*golden
	for ; len(dst) >= 4; dst, first = dst[4:], first+2 {
		z += golden
		w := mix(z)
		x, y := value(uint32(w), scale), value(uint32(w>>32), scale)
		a, b := math.Float32bits(x), math.Float32bits(y)
		if normal16(a)|normal16(b) < 16 {
			binary.LittleEndian.PutUint32(dst, roundF16(a)|roundF16(b)<<16)
		} else {
			binary.LittleEndian.PutUint32(dst, uint32(f16(x))|uint32(f16(y))<<16)
		}
	}
	if len(dst) >= 2 {
		binary.LittleEndian.PutUint16(dst, f16(Uniform(key, first, scale)))
	}
}

// roundBF16 rounds a finite value to nearest, ties to even. The upper 16 bits of the
// result are the bfloat16.
func roundBF16(x float32) uint32 {
	b := math.Float32bits(x)
	return b + 0x7fff + b>>16&1
}

func bf16(x float32) uint16 { return uint16(roundBF16(x) >> 16) }

// normal16 is below 16 for float32 bits of [2^-14, 4), which are normal numbers of
// float16, far from its infinity.
func normal16(b uint32) uint32 { return b>>23&0xff - 113 }

// roundF16 rounds the bits of such a value to float16 with the same carry as
// roundBF16, after lowering the exponent's bias from 127 to 15.
func roundF16(b uint32) uint32 {
	m := b&0x7fffffff - 112<<23
	return b>>16&0x8000 | (m+0xfff+m>>13&1)>>13
}

// f16 rounds a value to float16, to nearest, ties to even.
func f16(x float32) uint16 {
	if b := math.Float32bits(x); normal16(b) < 16 {
		return uint16(roundF16(b))
	}
	return float16.Fromfloat32(x).Bits()
}
