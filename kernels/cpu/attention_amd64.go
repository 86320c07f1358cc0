package cpu

import "unsafe"

// queryScores is QueryScores for the sets with AVX2.
func (s Set) queryScores(t Type, z []float32, ld int, keys unsafe.Pointer, count int, q []float32, v, n int, next uintptr, bytes int) {
	v = max(v, 2) // one query goes with another, whose scores nobody reads
	how, rows := t, RowsAtOnce(v)
	if t == BF16 {
		how = naturalBF16
	}
	dotVectors(how, t, z, ld, keys, count, q, n, v, n, next, bytes)
	if rest := count % rows; rest > 0 { // the last ones once more, unless there are too few
		first := max(count-rows, 0)
		dotVectors(how, t, z[first:], ld, unsafe.Add(keys, first*t.RowBytes(n)), rows, q, n, v, n, 0, 0)
	}
}

// weightedSums is WeightedSums for the sets with AVX2.
func (s Set) weightedSums(t Type, y []float32, ldy int, p []float32, ldp int, values unsafe.Pointer, count, v, n int, next uintptr, bytes int) {
	_, _ = y[(v-1)*ldy+n-1], p[(v-1)*ldp+count-1]
	passes := (n + 31) / 32
	if v == 4 {
		passes = n / 16
	}
	if bytes == 0 {
		next = uintptr(values)
	}
	step := (bytes + count*passes - 1) / (count * passes)
	weightedSumsKernels[t][v-1](&y[0], 4*ldy, &p[0], 4*ldp, count, values, t.RowBytes(n), n, next, step)
}

// weightedSumsKernels are for one to four lists of weights.
var weightedSumsKernels = [...][4]func(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int){
	F32:  {weightedSumsF32x1AVX2, weightedSumsF32x2AVX2, weightedSumsF32x3AVX2, weightedSumsF32x4AVX2},
	F16:  {weightedSumsF16x1AVX2, weightedSumsF16x2AVX2, weightedSumsF16x3AVX2, weightedSumsF16x4AVX2},
	BF16: {weightedSumsBF16x1AVX2, weightedSumsBF16x2AVX2, weightedSumsBF16x3AVX2, weightedSumsBF16x4AVX2},
}

//go:noescape
func weightedSumsBF16x1AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)

//go:noescape
func weightedSumsBF16x2AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)

//go:noescape
func weightedSumsBF16x3AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)

//go:noescape
func weightedSumsBF16x4AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)

//go:noescape
func weightedSumsF16x1AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)

//go:noescape
func weightedSumsF16x2AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)

//go:noescape
func weightedSumsF16x3AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)

//go:noescape
func weightedSumsF16x4AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)

//go:noescape
func weightedSumsF32x1AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)

//go:noescape
func weightedSumsF32x2AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)

//go:noescape
func weightedSumsF32x3AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)

//go:noescape
func weightedSumsF32x4AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)
