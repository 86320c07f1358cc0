package cpu

// packStep is how many columns of 16-bit numbers are packed at a time: the 16 KiB that are
// written then stay in the first cache until their lines are full.
func packStep(width int) int { return max(4096/width, 16) }

// nextPacked is where the eight rows begin that are packed after those from i on, of the
// columns from p on, as an element of row i.
func nextPacked(i, p, step, rows, k, stride int) int {
	switch {
	case i+8 < rows:
		return 8*stride + p
	case p+step < k:
		return p + step - i*stride
	}
	return 8 * stride // of the rows after these, which another call packs
}

// PackBF16 is PackRows for a matrix of bfloat16s, which it widens.
// dst [k, width], src [rows, stride], rows <= width
func (s Set) PackBF16(dst []float32, width int, src []uint16, stride, rows, k int) {
	s.pack16(dst, width, src, stride, rows, k, packBF16, FromBF16)
}

// PackF16 is PackRows for a matrix of halves, which it widens.
// dst [k, width], src [rows, stride], rows <= width
func (s Set) PackF16(dst []float32, width int, src []uint16, stride, rows, k int) {
	s.pack16(dst, width, src, stride, rows, k, packF16, FromF16)
}

// pack16 packs eight rows at a time by eight, and what is left one by one.
func (s Set) pack16(dst []float32, width int, src []uint16, stride, rows, k int,
	eight func(dst []float32, width int, src []uint16, stride, k, ahead int), one func(uint16) float32) {
	done := 0
	if s != Generic && k >= 16 {
		done = rows &^ 7
		step := packStep(width)
		for p := 0; p < k; p += step {
			p0 := min(p, k-16) // where few are left, some before them once more
			for i := 0; i < done; i += 8 {
				eight(dst[p0*width+i:], width, src[i*stride+p0:], stride, min(step, k-p0), nextPacked(i, p, step, done, k, stride)-p0)
			}
		}
	}
	for i := done; i < width; i++ {
		if i >= rows {
			clearColumn(dst[i:], width, k)
			continue
		}
		for p, b := range src[i*stride : i*stride+k] {
			dst[p*width+i] = one(b)
		}
	}
}

// clearColumn: dst[p*width] = 0 for p < k.
func clearColumn(dst []float32, width, k int) {
	for p := range k {
		dst[p*width] = 0
	}
}
