package hardware

import (
	"golang.org/x/sys/cpu"
)

// int16AVX2 adds the two products of the pairs of int16s x and y n times to each of
// 12 x 8 sums that begin at zero.
//
//go:noescape
func int16AVX2(n int, x, y uint32, sums *[96]int32)

// int16AVX512 is int16AVX2 with 12 x 16 sums.
//
//go:noescape
func int16AVX512(n int, x, y uint32, sums *[192]int32)

// int16VNNI is int16AVX512 with products and sums in one instruction.
//
//go:noescape
func int16VNNI(n int, x, y uint32, sums *[192]int32)

// int16FMA is a probe's fma by int16s, of x and y that are multiples of a half.
func int16FMA(n int, x, y float32, add func(pairs int, x, y uint32) []int32) (float64, int) {
	a, b := int16(2*x), int16(2*y)
	pair := func(v int16) uint32 { return uint32(uint16(v)) * 0x10001 }
	sums := add(n/2, pair(a), pair(b))
	var t float64
	for _, s := range sums {
		t += float64(s) + float64(n%2)*float64(a)*float64(b)
	}
	return t / 4, len(sums)
}

func fmaInt16AVX2(n int, x, y float32) (float64, int) {
	return int16FMA(n, x, y, func(n int, x, y uint32) []int32 {
		var sums [96]int32
		int16AVX2(n, x, y, &sums)
		return sums[:]
	})
}

func fmaInt16AVX512(n int, x, y float32) (float64, int) {
	return int16FMA(n, x, y, func(n int, x, y uint32) []int32 {
		var sums [192]int32
		if cpu.X86.HasAVX512VNNI {
			int16VNNI(n, x, y, &sums)
		} else {
			int16AVX512(n, x, y, &sums)
		}
		return sums[:]
	})
}
