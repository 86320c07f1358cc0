package random

import (
	"encoding/binary"
	"math"

	"github.com/x448/float16"
)

// FillF32 writes elements first, first+1, ... of a stream to dst as
// little-endian float32 until dst, a multiple of 4 bytes, is full.
func FillF32(dst []byte, key, first uint64, scale float32) {
	i := first
	if i&1 == 1 && len(dst) >= 4 {
		binary.LittleEndian.PutUint32(dst, math.Float32bits(Uniform(key, i, scale)))
		dst, i = dst[4:], i+1
	}
	z := key + i>>1*golden
	for len(dst) >= 8 {
		z += golden
		w := mix(z)
		lo := math.Float32bits(value(uint32(w), scale))
		hi := math.Float32bits(value(uint32(w>>32), scale))
		binary.LittleEndian.PutUint64(dst, uint64(hi)<<32|uint64(lo))
		dst = dst[8:]
	}
	if len(dst) >= 4 {
		binary.LittleEndian.PutUint32(dst, math.Float32bits(value(uint32(mix(z+golden)), scale)))
	}
}

// FillBF16 is FillF32 rounded to bfloat16; dst is a multiple of 2 bytes.
func FillBF16(dst []byte, key, first uint64, scale float32) {
	i := first
	if i&1 == 1 && len(dst) >= 2 {
		binary.LittleEndian.PutUint16(dst, bf16(Uniform(key, i, scale)))
		dst, i = dst[2:], i+1
	}
	z := key + i>>1*golden
	for len(dst) >= 8 {
		v, w := mix(z+golden), mix(z+2*(golden&(1<<63-1)))
		_, _ = v, w
		z += golden
		v = mix(z)
		z += golden
		w = mix(z)
		a, b := bf16(value(uint32(v), scale)), bf16(value(uint32(v>>32), scale))
		c, d := bf16(value(uint32(w), scale)), bf16(value(uint32(w>>32), scale))
		binary.LittleEndian.PutUint64(dst, uint64(a)|uint64(b)<<16|uint64(c)<<32|uint64(d)<<48)
		dst = dst[8:]
	}
	tail16(dst, z, scale, bf16)
}

// FillF16 is FillF32 rounded to float16; dst is a multiple of 2 bytes.
func FillF16(dst []byte, key, first uint64, scale float32) {
	i := first
	if i&1 == 1 && len(dst) >= 2 {
		binary.LittleEndian.PutUint16(dst, f16(Uniform(key, i, scale)))
		dst, i = dst[2:], i+1
	}
	z := key + i>>1*golden
	for len(dst) >= 4 {
		z += golden
		w := mix(z)
		a, b := f16(value(uint32(w), scale)), f16(value(uint32(w>>32), scale))
		binary.LittleEndian.PutUint32(dst, uint32(a)|uint32(b)<<16)
		dst = dst[4:]
	}
	tail16(dst, z, scale, f16)
}

// tail16 writes the last, at most three, elements after counter z.
func tail16(dst []byte, z uint64, scale float32, round func(float32) uint16) {
	for len(dst) >= 2 {
		z += golden
		w := mix(z)
		for ; len(dst) >= 2; w >>= 32 {
			binary.LittleEndian.PutUint16(dst, round(value(uint32(w), scale)))
			dst = dst[2:]
			if len(dst) >= 2 && w>>32 == 0 {
				break
			}
		}
	}
}
