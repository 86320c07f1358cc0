package cpu

import "unsafe"

// PackRows packs rows of a matrix into a panel of Tile:
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

// fewStep bounds the columns that are packed at a time of rows that are fewer than eight.
const fewStep = 256

// pack16 packs eight rows at a time by eight. What is left of them is copied beside rows of
// zeros first, or packed one by one where the panel has no room for eight.
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
		if done < rows && done+8 <= width && step <= fewStep {
			var few [8 * fewStep]uint16
			for p := 0; p < k; p += step {
				p0 := min(p, k-16)
				n := min(step, k-p0)
				for i := done; i < rows; i++ {
					copy(few[(i-done)*fewStep:], src[i*stride+p0:i*stride+p0+n])
				}
				eight(dst[p0*width+done:], width, few[:], fewStep, n, 0)
			}
			done += 8
		}
	}
	for i := done; i < rows; i++ {
		for p, b := range src[i*stride : i*stride+k] {
			dst[p*width+i] = one(b)
		}
	}
	if from := max(done, rows); from < width {
		for p := range k {
			clear(dst[p*width+from : (p+1)*width])
		}
	}
}

// pairRows is how many rows transposePairs takes at a time, and half of the
// elements of each.
const pairRows = 16

// PackPairs packs rows of a matrix into a panel of TilePairs:
// dst[p*width+i] is the pair src[i*stride+2p], src[i*stride+2p+1] for i < rows,
// where beyond k there are zeros; columns rows..width-1 of dst are zero.
// dst [(k+1)/2, width], src [rows, stride], rows <= width <= 32
func (s Set) PackPairs(dst []uint32, width int, src []uint16, stride, rows, k int) {
	n := (k + 1) / 2
	dst = dst[:n*width]
	if rows == 0 || n == 0 {
		clear(dst)
		return
	}
	_ = src[(rows-1)*stride+k-1]
	if !s.pairs() {
		packPairsScalar(dst, width, src, stride, rows, k)
		return
	}
	full := k / (2 * pairRows) * pairRows // pairs in blocks of whole rows
	for i := 0; i < width; i += pairRows {
		lanes, have := min(pairRows, width-i), max(min(pairRows, rows-i), 0)
		var from [pairRows]unsafe.Pointer
		for r := range from {
			from[r] = unsafe.Pointer(&src[min(i+r, rows-1)*stride])
		}
		if full > 0 {
			transposePairs(&dst[i], width, &from, full, 1<<lanes-1, 1<<have-1, 1<<32-1)
		}
		if rest := k - 2*full; rest > 0 {
			for r := range from {
				from[r] = unsafe.Add(from[r], 4*full)
			}
			var last [pairRows * pairRows]uint32
			transposePairs(&last[0], pairRows, &from, pairRows, 1<<pairRows-1, 1<<have-1, 1<<rest-1)
			for p := full; p < n; p++ {
				copy(dst[p*width+i:p*width+i+lanes], last[(p-full)*pairRows:])
			}
		}
	}
}

func packPairsScalar(dst []uint32, width int, src []uint16, stride, rows, k int) {
	for i := range width {
		for p := range (k + 1) / 2 {
			pair := uint32(0)
			if i < rows {
				pair = uint32(src[i*stride+2*p])
				if 2*p+1 < k {
					pair |= uint32(src[i*stride+2*p+1]) << 16
				}
			}
			dst[p*width+i] = pair
		}
	}
}

// PackPairColumns packs columns of a matrix into a panel of TilePairs: dst[p*width+i] is the pair
// src[2p*stride+i], src[(2p+1)*stride+i] for i < columns, where beyond k there are
// zeros; the rest of each row of dst is zero.
// dst [(k+1)/2, width], src [k, stride], columns <= width
func (s Set) PackPairColumns(dst []uint32, width int, src []uint16, stride, columns, k int) {
	done := 0
	if s.pairs() && columns == 32 && width == 32 && k > 1 {
		_, _ = dst[k/2*width-1], src[(k/2*2-1)*stride+columns-1]
		interleavePairs(&dst[0], &src[0], stride, k/2)
		done = k / 2
	}
	for p := done; p < (k+1)/2; p++ {
		row := dst[p*width : (p+1)*width]
		for i, v := range src[2*p*stride : 2*p*stride+columns] {
			row[i] = uint32(v)
		}
		if 2*p+1 < k {
			for i, v := range src[(2*p+1)*stride : (2*p+1)*stride+columns] {
				row[i] |= uint32(v) << 16
			}
		}
		clear(row[columns:])
	}
}
