package cpu

import "unsafe"

// pairRows is how many rows transposePairs takes at a time, and half of the
// elements of each.
const pairRows = 16

// PackPairs lays rows of a matrix side by side, as a panel of TilePairs:
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

// PackPairColumns makes a panel of columns of a matrix: dst[p*width+i] is the pair
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
