package cpu

import "unsafe"

// DotsAlong is the products of one vector with the first row of each of the type's
// streams, then with the rows that follow each of them in memory, and so on.
// out [count][t.Streams(n)], rows [t.Streams(n)][count*n] of type t, x what Arrange made
// of n floats
func (s Set) DotsAlong(t Type, out []float32, rows *[MostStreams]unsafe.Pointer, x []float32, n int) {
	_ = x[:Arranged(n)]
	streams := t.Streams(n)
	count := len(out) / streams
	switch {
	case count == 0:
	case t == I8 && s != Generic && n > 0:
		q, scales := int8Arranged(x, n)
		dotsInt8AVX2((*[4]float32)(out), rows, &q[0], &scales[0], len(q), count, distance(t))
	case s == Generic || s == AVX2 && n < 16:
		dotsAlongGeneric(t, out, rows, x, n)
	case n == 0:
		clear(out)
	case s == AVX2 && t == BF16 && streams == 4:
		dotsBF16x4AVX2(&out[0], rows, &x[0], n, count, distance(t))
	case s == AVX2 && t == BF16:
		dotsBF16x6AVX2(&out[0], rows, &x[0], n, count, distance(t))
	case s == AVX2 && t == F16 && streams == 4:
		dotsF16x4AVX2(&out[0], rows, &x[0], n, count, distance(t))
	case s == AVX2 && t == F16:
		dotsF16x6AVX2(&out[0], rows, &x[0], n, count, distance(t))
	case s == AVX2:
		dotsF32AVX2((*[4]float32)(out), rows, &x[0], n, count, distance(t))
	case t == BF16 && streams == 4:
		dotsBF16x4AVX512(&out[0], rows, &x[0], n, count, distance(t))
	case t == BF16:
		dotsBF16x6AVX512(&out[0], rows, &x[0], n, count, distance(t))
	case t == F16 && streams == 4:
		dotsF16x4AVX512(&out[0], rows, &x[0], n, count, distance(t))
	case t == F16:
		dotsF16x6AVX512(&out[0], rows, &x[0], n, count, distance(t))
	default:
		dotsF32AVX512((*[4]float32)(out), rows, &x[0], n, count, distance(t))
	}
}

// The AVX2 kernels want n >= 16, those for AVX-512 n >= 1.

//go:noescape
func dotsBF16x4AVX2(out *float32, rows *[MostStreams]unsafe.Pointer, x *float32, n, count, ahead int)

//go:noescape
func dotsBF16x6AVX2(out *float32, rows *[MostStreams]unsafe.Pointer, x *float32, n, count, ahead int)

//go:noescape
func dotsF16x4AVX2(out *float32, rows *[MostStreams]unsafe.Pointer, x *float32, n, count, ahead int)

//go:noescape
func dotsF16x6AVX2(out *float32, rows *[MostStreams]unsafe.Pointer, x *float32, n, count, ahead int)

//go:noescape
func dotsF32AVX2(out *[4]float32, rows *[MostStreams]unsafe.Pointer, x *float32, n, count, ahead int)

//go:noescape
func dotsBF16x4AVX512(out *float32, rows *[MostStreams]unsafe.Pointer, x *float32, n, count, ahead int)

//go:noescape
func dotsBF16x6AVX512(out *float32, rows *[MostStreams]unsafe.Pointer, x *float32, n, count, ahead int)

//go:noescape
func dotsF16x4AVX512(out *float32, rows *[MostStreams]unsafe.Pointer, x *float32, n, count, ahead int)

//go:noescape
func dotsF16x6AVX512(out *float32, rows *[MostStreams]unsafe.Pointer, x *float32, n, count, ahead int)

//go:noescape
func dotsF32AVX512(out *[4]float32, rows *[MostStreams]unsafe.Pointer, x *float32, n, count, ahead int)
