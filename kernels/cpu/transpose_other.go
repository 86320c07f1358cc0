//go:build !amd64

package cpu

// transpose8 writes columns of 8 rows as rows of 8: dst[p*width+i] =
// src[i*stride+p] for i < 8 and p < k, k a multiple of 8.
func transpose8(dst []float32, width int, src []float32, stride, k int) {
	packScalar(dst, width, src, stride, 8, 8, 0, k)
}
