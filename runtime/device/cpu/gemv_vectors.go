package cpu

import (
	"unsafe"

	kernel "mop/kernels/cpu"
)

// A decode operation of several sequences multiplies its weights with as many vectors. A worker
// takes a block of rows from memory into its second cache once, multiplies it with up to four
// vectors at a time, and meanwhile prefetches the block behind it, so that neither the memory
// nor the multiply units wait for the other.

// blockRows is a number of rows that DotVectors takes for any number of vectors.
const blockRows = 12

// l2BlockBytes is how large a block of rows is at most, unless blockRows rows are larger. Two of
// them and the vectors fit into the second cache. The first block of an operation comes from memory
// while nothing is multiplied, so that larger ones cost more than they save in calls.
const l2BlockBytes = 32 << 10

// takesVectors reports whether an operation multiplies several vectors at a time.
func (d *Device) takesVectors(o *gemv) bool {
	if o.n < 2 {
		return false
	}
	for _, w := range o.ws {
		if w != nil && (w.shape[0] < blockRows || d.set.VectorsAtOnce(w.kind(), w.shape[1]) < 4) {
			return false
		}
	}
	return true
}

// vectorGroup is how many of n vectors are multiplied next: four, or three where one would be
// left alone.
func vectorGroup(n int) int {
	switch {
	case n <= 4:
		return n
	case n == 5 || n == 6:
		return 3
	}
	return 4
}

// rowsTimesVectors computes y[i*ld+r] (+)= W[r] . x[i] for the rows lo..hi-1 of a matrix of at
// least blockRows rows and n vectors, arranged for its type.
func (d *Device) rowsTimesVectors(to gemvOutput, w *weight, lo, hi int, x []float32, n int, add bool) {
	t, base := w.bytes()
	total, c := w.rowsCols()
	size, bytes := kernel.VectorStride(c), t.RowBytes(c)
	each := min(max(l2BlockBytes/(blockRows*bytes), 1), maxBlocks) * blockRows
	groups := (n + 3) / 4
	for r := lo; r < hi; r += each {
		rows := min(each, hi-r)
		next, share := uintptr(base)+uintptr((r+rows)*bytes), min(each, total-r-rows)*bytes/groups
		for v := 0; v < n; {
			many := vectorGroup(n - v)
			d.blockTimesVectors(to, w, r, rows, x[v*size:(v+many)*size], v, many, add, next, share)
			next += uintptr(share)
			v += many
		}
	}
}

// maxBlocks bounds the products of a block of rows.
const maxBlocks = 8

// blockTimesVectors is rowsTimesVectors for a block of rows from r on and vectors v..v+many-1, at
// most four. Meanwhile it prefetches some bytes from next on.
func (d *Device) blockTimesVectors(to gemvOutput, w *weight, r, rows int, x []float32, v, many int, add bool, next uintptr, bytes int) {
	t, base := w.bytes()
	c, together := w.shape[1], kernel.RowsAtOnce(many)
	whole := rows / together * together
	if whole > 0 {
		first := unsafe.Add(base, r*t.RowBytes(c))
		if y := to.y[v*to.ld+r:]; !add {
			d.set.DotVectors(t, y, to.ld, first, whole, x, many, c, next, bytes)
		} else {
			var out [4 * maxBlocks * blockRows]float32
			d.set.DotVectors(t, out[:], whole, first, whole, x, many, c, next, bytes)
			for i := range many {
				addVector(y[i*to.ld:i*to.ld+whole], out[i*whole:(i+1)*whole])
			}
		}
	}
	if whole == rows {
		return
	}
	// The last rows go with some before or behind them, whose products are dropped.
	var out [4 * blockRows]float32
	first := max(r+rows-together, 0)
	d.set.DotVectors(t, out[:], together, unsafe.Add(base, first*t.RowBytes(c)), together, x, many, c, 0, 0)
	for i := range many {
		y, z := to.y[(v+i)*to.ld+r+whole:(v+i)*to.ld+r+rows], out[i*together+r+whole-first:]
		if add {
			addVector(y, z[:len(y)])
		} else {
			copy(y, z)
		}
	}
}

// addVector adds x to y.   y, x [n]
func addVector(y, x []float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] += x[i]
	}
}
