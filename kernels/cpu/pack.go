package cpu

import "unsafe"

// PackRows lays rows of a matrix side by side, as a panel of Tile:
// dst[p*width+i] = src[i*stride+p] for i < rows and p < k; columns rows..width-1
// of dst are zero.   dst [k, width], src [rows, stride], rows <= width
func (s Set) PackRows(dst []float32, width int, src []float32, stride, rows, k int) {
	at := 0 // columns of src that are done
	if s != Generic && k >= 8 {
		// Eight rows at a time, where src has them even more than the panel takes:
		// each step's surplus is overwritten by the next step, and by earlier rows
		// and the last columns, which therefore come after.
		at = (k - 1) / 8 * 8
		if width%8 == 0 { // no surplus
			at = k / 8 * 8
		}
		for i := (rows - 1) / 8 * 8; i >= 0; i -= 8 {
			if i+8 <= rows || rows == width && len(src) >= (i+7)*stride+at {
				transpose8(dst[i:], width, src[i*stride:], stride, at)
			} else {
				packScalar(dst[i:], width, src[i*stride:], stride, rows-i, min(8, width-i), 0, at)
			}
		}
		for i := (rows + 7) / 8 * 8; i < width; i++ {
			for p := range at {
				dst[p*width+i] = 0
			}
		}
	}
	packScalar(dst, width, src, stride, rows, width, at, k)
}

// packScalar is PackRows for the columns from..to-1 of src and the first n
// columns of the panel.
func packScalar(dst []float32, width int, src []float32, stride, rows, n, from, to int) {
	for i := range n {
		if i >= rows {
			for p := from; p < to; p++ {
				dst[p*width+i] = 0
			}
			continue
		}
		for p, v := range src[i*stride+from : i*stride+to] {
			dst[(from+p)*width+i] = v
		}
	}
}

// PackColumns copies columns of a matrix into a panel: dst[p*width+i] =
// src[p*stride+i] for i < columns and p < k; the rest of each row of dst is zero.
// dst [k, width], src [k, stride], columns <= width
func PackColumns(dst []float32, width int, src []float32, stride, columns, k int) {
	if k == 0 || columns == 0 {
		clear(dst[:k*width])
		return
	}
	dst, src = dst[:k*width], src[:(k-1)*stride+columns]
	if columns < width {
		clear(dst)
	}
	to, from := unsafe.Pointer(&dst[0]), unsafe.Pointer(&src[0])
	switch columns { // rows so short that a call for each would take longer than they do
	case 6:
		copyRows[[6]float32](to, from, width, stride, k)
	case 8:
		copyRows[[8]float32](to, from, width, stride, k)
	case 12:
		copyRows[[12]float32](to, from, width, stride, k)
	case 16:
		copyRows[[16]float32](to, from, width, stride, k)
	case 32:
		copyRows[[32]float32](to, from, width, stride, k)
	default:
		for p := range k {
			copy(dst[p*width:], src[p*stride:p*stride+columns])
		}
	}
}

// copyRows copies k rows of a fixed length, ds floats apart in dst and ss floats in src.
func copyRows[Row any](dst, src unsafe.Pointer, ds, ss, k int) {
	for p := range k {
		*(*Row)(unsafe.Add(dst, p*4*ds)) = *(*Row)(unsafe.Add(src, p*4*ss))
	}
}
