package cpu

// transpose8 writes columns of 8 rows as rows of 8: dst[p*width+i] =
// src[i*stride+p] for i < 8 and p < k, k a multiple of 8. It needs AVX2.
func transpose8(dst []float32, width int, src []float32, stride, k int) {
	if k == 0 {
		return
	}
	_, _ = dst[(k-1)*width+7], src[7*stride+k-1]
	transpose8AVX2(&dst[0], width, &src[0], stride, k)
}

//go:noescape
func transpose8AVX2(dst *float32, width int, src *float32, stride, k int)
