package cpu

import "unsafe"

// Dots gives the products of four rows with one vector: four, because as many
// streams of loads are what a core keeps in flight. A row may stand in for
// another; a row's product does not depend on the other three.
// rows [4][n] of type t, x what Arrange made of n floats
func (s Set) Dots(t Type, out *[4]float32, rows *[4]unsafe.Pointer, x []float32, n int) {
	_ = x[:Arranged(n)]
	switch {
	case s == Generic || s == AVX2 && n < 16:
		dotsGeneric(t, out, rows, x, n)
	case n == 0:
		*out = [4]float32{}
	case s == AVX2 && t == BF16:
		dotsBF16AVX2(out, rows, &x[0], n)
	case s == AVX2 && t == F16:
		dotsF16AVX2(out, rows, &x[0], n)
	case s == AVX2 && t == I8:
		dotsI8AVX2(out, rows, &x[0], n)
	case s == AVX2:
		dotsF32AVX2(out, rows, &x[0], n)
	case t == BF16:
		dotsBF16AVX512(out, rows, &x[0], n)
	case t == I8:
		dotsI8AVX512(out, rows, &x[0], n)
	case t == F16:
		dotsF16AVX512(out, rows, &x[0], n)
	default:
		dotsF32AVX512(out, rows, &x[0], n)
	}
}

// The AVX2 kernels want n >= 16, those for AVX-512 n >= 1.

//go:noescape
func dotsBF16AVX2(out *[4]float32, rows *[4]unsafe.Pointer, x *float32, n int)

//go:noescape
func dotsF16AVX2(out *[4]float32, rows *[4]unsafe.Pointer, x *float32, n int)

//go:noescape
func dotsF32AVX2(out *[4]float32, rows *[4]unsafe.Pointer, x *float32, n int)

//go:noescape
func dotsBF16AVX512(out *[4]float32, rows *[4]unsafe.Pointer, x *float32, n int)

//go:noescape
func dotsF16AVX512(out *[4]float32, rows *[4]unsafe.Pointer, x *float32, n int)

//go:noescape
func dotsF32AVX512(out *[4]float32, rows *[4]unsafe.Pointer, x *float32, n int)

//go:noescape
func dotsI8AVX2(out *[4]float32, rows *[4]unsafe.Pointer, x *float32, n int)

//go:noescape
func dotsI8AVX512(out *[4]float32, rows *[4]unsafe.Pointer, x *float32, n int)
