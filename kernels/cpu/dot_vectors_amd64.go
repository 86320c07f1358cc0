package cpu

import "unsafe"

// VectorsAtOnce is how many vectors DotVectors takes at most for rows of n elements of the
// type; 1 where the set has no kernel for it.
func (s Set) VectorsAtOnce(t Type, n int) int {
	if s == Generic || t == I8 || n < 16 {
		return 1
	}
	return maxVectors
}

// DotVectors multiplies rows that follow one another in memory with v vectors, with the bits of
// DotRows. The elements of a row are converted to float32 once for all vectors. Meanwhile it
// prefetches as many bytes from the address next on into the second cache; nothing is read.
// out [v][ld] for count rows, a multiple of RowsAtOnce(v); x [v][VectorStride(n)] as Arrange makes
// them; v at least 2 and at most VectorsAtOnce
func (s Set) DotVectors(t Type, out []float32, ld int, rows unsafe.Pointer, count int, x []float32, v, n int, next uintptr, bytes int) {
	if s == Generic {
		dotVectorsGeneric(t, out, ld, rows, count, x, v, n)
		return
	}
	dotVectors(t, t, out, ld, rows, count, x, VectorStride(n), v, n, next, bytes)
}

// naturalBF16 stands for bfloat16 rows and vectors that are not rearranged, and n a multiple of 16.
const naturalBF16 = I8 + 1

// dotVectors is DotVectors by the kernel for how, t or naturalBF16, for vectors xStride apart.
func dotVectors(how, t Type, out []float32, ld int, rows unsafe.Pointer, count int, x []float32, xStride, v, n int, next uintptr, bytes int) {
	groups := count / RowsAtOnce(v)
	if groups == 0 {
		return
	}
	_, _ = x[(v-1)*xStride+n-1], out[(v-1)*ld+count-1]
	steps := groups * max(n/32, 1)
	if bytes == 0 {
		next = uintptr(rows)
	}
	dotVectorsAVX2(how, v, &out[0], rows, &x[0], 4*xStride, n, t.RowBytes(n), groups, next, (bytes+steps-1)/steps, 4*ld)
}

// dotVectorsAVX2 calls the kernel for v vectors. Through a table of functions, its arguments would
// be allocated.
func dotVectorsAVX2(how Type, v int, out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int) {
	switch [2]int{int(how), v} {
	case [2]int{int(F32), 2}:
		dotsF32x2AVX2(out, rows, x, xStride, n, rowBytes, count, next, step, outStride)
	case [2]int{int(F32), 3}:
		dotsF32x3AVX2(out, rows, x, xStride, n, rowBytes, count, next, step, outStride)
	case [2]int{int(F32), 4}:
		dotsF32x4AVX2(out, rows, x, xStride, n, rowBytes, count, next, step, outStride)
	case [2]int{int(F16), 2}:
		dotsF16x2AVX2(out, rows, x, xStride, n, rowBytes, count, next, step, outStride)
	case [2]int{int(F16), 3}:
		dotsF16x3AVX2(out, rows, x, xStride, n, rowBytes, count, next, step, outStride)
	case [2]int{int(F16), 4}:
		dotsF16x4AVX2(out, rows, x, xStride, n, rowBytes, count, next, step, outStride)
	case [2]int{int(BF16), 2}:
		dotsBF16x2AVX2(out, rows, x, xStride, n, rowBytes, count, next, step, outStride)
	case [2]int{int(BF16), 3}:
		dotsBF16x3AVX2(out, rows, x, xStride, n, rowBytes, count, next, step, outStride)
	case [2]int{int(BF16), 4}:
		dotsBF16x4AVX2(out, rows, x, xStride, n, rowBytes, count, next, step, outStride)
	case [2]int{int(naturalBF16), 2}:
		dotsNatural16x2AVX2(out, rows, x, xStride, n, rowBytes, count, next, step, outStride)
	case [2]int{int(naturalBF16), 3}:
		dotsNatural16x3AVX2(out, rows, x, xStride, n, rowBytes, count, next, step, outStride)
	case [2]int{int(naturalBF16), 4}:
		dotsNatural16x4AVX2(out, rows, x, xStride, n, rowBytes, count, next, step, outStride)
	}
}

//go:noescape
func dotsBF16x2AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)

//go:noescape
func dotsBF16x3AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)

//go:noescape
func dotsBF16x4AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)

//go:noescape
func dotsF16x2AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)

//go:noescape
func dotsF16x3AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)

//go:noescape
func dotsF16x4AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)

//go:noescape
func dotsF32x2AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)

//go:noescape
func dotsF32x3AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)

//go:noescape
func dotsF32x4AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)

//go:noescape
func dotsNatural16x2AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)

//go:noescape
func dotsNatural16x3AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)

//go:noescape
func dotsNatural16x4AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)
