package cpu

import "unsafe"

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

// packBF16 writes columns of 8 rows of bfloat16s as rows of 8 floats: dst[p*width+i] =
// src[i*stride+p] for i < 8 and p < k, k >= 16. The rows that lie ahead of these by so many
// elements are asked for. It needs AVX2.
func packBF16(dst []float32, width int, src []uint16, stride, k, ahead int) {
	_, _ = dst[(k-1)*width+7], src[7*stride+k-1]
	packBF16AVX2(&dst[0], width, &src[0], stride, k/16, 2*ahead)
	if k%16 > 0 { // the last sixteen once more
		packBF16AVX2(&dst[(k-16)*width], width, &src[k-16], stride, 1, 2*ahead)
	}
}

// packF16 writes columns of 8 rows of halves as rows of 8 floats: dst[p*width+i] =
// src[i*stride+p] for i < 8 and p < k, k >= 16. The rows that lie ahead of these by so many
// elements are asked for. It needs AVX2 and F16C.
func packF16(dst []float32, width int, src []uint16, stride, k, ahead int) {
	_, _ = dst[(k-1)*width+7], src[7*stride+k-1]
	packF16AVX2(&dst[0], width, &src[0], stride, k/16, 2*ahead)
	if k%16 > 0 { // the last sixteen once more
		packF16AVX2(&dst[(k-16)*width], width, &src[k-16], stride, 1, 2*ahead)
	}
}

// blocks of 16 columns, at least one; ahead is in bytes.
//
//go:noescape
func packBF16AVX2(dst *float32, width int, src *uint16, stride, blocks, ahead int)

// blocks of 16 columns, at least one; ahead is in bytes.
//
//go:noescape
func packF16AVX2(dst *float32, width int, src *uint16, stride, blocks, ahead int)

// transposePairs writes columns of 16 rows of pairs as rows: dst[p*width+i] =
// rows[i][p] for p < n, a multiple of 16, in the lanes i of store; lanes that keep
// lacks are zero, and so are elements (16-bit) of each 16 pairs that words lacks.
//
//go:noescape
func transposePairs(dst *uint32, width int, rows *[pairRows]unsafe.Pointer, n int, store, keep uint16, words uint32)

// interleavePairs is PackPairColumns for 32 columns and n pairs, n >= 1.
//
//go:noescape
func interleavePairs(dst *uint32, src *uint16, stride, n int)
