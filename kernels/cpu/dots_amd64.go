package cpu

import "unsafe"

// DotsAlong is Dots for four rows, then for those that follow each of them in memory,
// and so on.   out [count][4], rows [4][count*n] of type t
func (s Set) DotsAlong(t Type, out [][4]float32, rows *[4]unsafe.Pointer, x []float32, n int) {
	_ = x[:Arranged(n)]
	count := len(out)
	switch {
	case count == 0:
	case t == I8 && s != Generic && n > 0:
		q, scales := int8Arranged(x, n)
		dotsInt8AVX2(&out[0], rows, &q[0], &scales[0], len(q), count)
	case s == Generic || s == AVX2 && n < 16:
		dotsAlongGeneric(t, out, rows, x, n)
	case n == 0:
		clear(out)
	case s == AVX2 && t == BF16:
		dotsBF16AVX2(&out[0], rows, &x[0], n, count)
	case s == AVX2 && t == F16:
		dotsF16AVX2(&out[0], rows, &x[0], n, count)
	case s == AVX2:
		dotsF32AVX2(&out[0], rows, &x[0], n, count)
	case t == BF16:
		dotsBF16AVX512(&out[0], rows, &x[0], n, count)
	case t == F16:
		dotsF16AVX512(&out[0], rows, &x[0], n, count)
	default:
		dotsF32AVX512(&out[0], rows, &x[0], n, count)
	}
}

// The AVX2 kernels want n >= 16, those for AVX-512 n >= 1.

//go:noescape
func dotsBF16AVX2(out *[4]float32, rows *[4]unsafe.Pointer, x *float32, n, count int)

//go:noescape
func dotsF16AVX2(out *[4]float32, rows *[4]unsafe.Pointer, x *float32, n, count int)

//go:noescape
func dotsF32AVX2(out *[4]float32, rows *[4]unsafe.Pointer, x *float32, n, count int)

//go:noescape
func dotsBF16AVX512(out *[4]float32, rows *[4]unsafe.Pointer, x *float32, n, count int)

//go:noescape
func dotsF16AVX512(out *[4]float32, rows *[4]unsafe.Pointer, x *float32, n, count int)

//go:noescape
func dotsF32AVX512(out *[4]float32, rows *[4]unsafe.Pointer, x *float32, n, count int)
