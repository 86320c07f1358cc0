package cpu

import (
	"unsafe"

	kernel "mop/kernels/cpu"
)

// arranged is the n vectors x [n, c] as kernel.Dots wants them for rows of the
// given type, in the worker's own memory: [n, kernel.Arranged(c)]. Operation op of
// the device, which has one x, does so once for each of its types in turn.
func (d *Device) arranged(worker int, op uint64, x []float32, n, c int, t kernel.Type, a arithmetic) []float32 {
	size, w := kernel.Arranged(c), &d.workers[worker]
	out := w.take(1, n*size)
	if w.op == op && w.arranged == t {
		return out
	}
	w.op, w.arranged = op, t
	for i := range n {
		row := x[i*c : (i+1)*c]
		if a != float32s {
			row = w.take(3, c)
			copy(row, x[i*c:])
			d.set.Round(row)
		}
		d.set.Arrange(out[i*size:(i+1)*size], row, t)
	}
	return out
}

// vectors computes y[i*ldy+r] (+)= W[r] . x[i] for rows lo..hi-1 of a matrix of c
// columns and n vectors, arranged for its type.
//
// Four streams walk through the range, each along a quarter of its own, so that
// each reads memory without a jump; the vectors take turns while the rows are in
// the first cache.
func (d *Device) vectors(y []float32, ldy int, w *weight, lo, hi int, x []float32, n int, add bool) {
	t, base := w.bytes()
	if lo >= hi {
		return
	}
	_, c := w.rowsCols()
	size := kernel.Arranged(c)
	bytes := c * t.Size()
	quarter := (hi - lo + 3) / 4
	var rows [4]unsafe.Pointer
	var out [4]float32
	for j := range quarter {
		r := lo + j
		for i := range rows {
			rows[i] = rows[0] // stands in where a quarter is shorter
			if at := r + i*quarter; at < hi {
				rows[i] = unsafe.Add(base, at*bytes)
			}
		}
		for v := range n {
			d.set.Dots(t, &out, &rows, x[v*size:(v+1)*size], c)
			if w.i8 != nil {
				for i, at := 0, r; i < 4 && at < hi; i, at = i+1, at+quarter {
					out[i] *= w.i8.scales[at]
				}
			}
			to := y[v*ldy:]
			for i, at := 0, r; i < 4 && at < hi; i, at = i+1, at+quarter {
				if add {
					to[at] += out[i]
				} else {
					to[at] = out[i]
				}
			}
		}
	}
}
