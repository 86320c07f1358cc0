package cpu

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
