package cpu

import (
	"unsafe"

	kernel "mop/kernels/cpu"
)

// gemvInput holds the vectors that a decode operation multiplies its weights by.
type gemvInput struct {
	op   uint64    // no other operation of the device has the same
	x    []float32 // [n, c]
	n, c int

	gain  []float32 // of a norm that they go through first, nil for none   [c]
	eps   float64
	round bool // to bfloat16
}

// newInput is what the next decode operation multiplies by rows of some weights.
// x [n, c]
func (d *Device) newInput(x []float32, n, c int, ws ...*weight) gemvInput {
	d.ops++
	in := gemvInput{op: d.ops, x: x, n: n, c: c, round: true}
	for _, w := range ws {
		in.round = in.round && w.round
	}
	return in
}

// arrangedInput is the input as kernel.DotRows wants it for rows of the given type, in the
// worker's own memory: [n, kernel.VectorStride(c)]. Every worker norms and arranges for
// itself, once for each type in turn: of few vectors that takes less time than to
// wait for another who does it.
func (d *Device) arrangedInput(worker int, in *gemvInput, t kernel.Type) []float32 {
	size, w := kernel.VectorStride(in.c), &d.workers[worker]
	out := w.take(1, in.n*size)
	if w.op == in.op && w.arranged == t {
		return out
	}
	w.op, w.arranged = in.op, t
	for i := range in.n {
		x, to := in.x[i*in.c:(i+1)*in.c], w.take(2, in.c)
		if in.gain != nil {
			normRow(d.set, to, x, in.gain, in.eps)
			x = to
		}
		if in.round {
			copy(to, x)
			d.set.Round(to)
			x = to
		}
		d.set.Arrange(out[i*size:(i+1)*size], x, t)
	}
	return out
}

// gemv is a decode operation: matrices that are multiplied by the same vectors, y = W x of each.
type gemv struct {
	gemvInput
	ws            [3]*weight    // nil where there are fewer
	out           [3]gemvOutput // of each
	add           bool          // y += W x
	piecesPerStep [3]int        // pieces of each one's step: see countPieces
	vectors       bool          // several vectors at a time, see rowsTimesVectors
}

// gemvOutput is where the rows of a product go.
type gemvOutput struct {
	y  []float32 // [n, ld]
	ld int
}

func (t *gemvOutput) row(i int) []float32 { return t.y[i*t.ld : (i+1)*t.ld] }

// minWorkerBytes is how much a worker reads at least: waking another one, and waiting until
// it is done, takes a good part of the time to read as much from the
// cache. partBytes is the same for a part of its work.
const (
	minWorkerBytes = 12 << 10
	minPartBytes   = 96 << 10
)

// shareWork lets as many workers as are worth it share n equal pieces of work that read so
// many bytes.
func (d *Device) shareWork(n int, bytes int64, task func(worker, lo, hi int)) {
	workers := min(bytes/minWorkerBytes, int64(d.pool.threads))
	per := min(max(bytes/minPartBytes/max(workers, 1), 1), maxPartsPerWorker)
	d.pool.split(n, 1, int(workers), int(per), task)
}

// runGEMV does the operation d.gemv.
func (d *Device) runGEMV() {
	o := &d.gemv
	o.vectors = d.takesVectors(o)
	total, bytes := o.countPieces()
	d.shareWork(total, bytes*int64(o.n), d.parts.gemv)
}

// countPieces says how many pieces the matrices are, all of the same number of bytes, and how
// many bytes in all. A step of a matrix is some pieces: as many as of another, where
// their types are the same.
func (o *gemv) countPieces() (pieces int, bytes int64) {
	unit := o.stepBytes(o.ws[0])
	for _, w := range o.ws {
		if w != nil {
			unit = gcd(unit, o.stepBytes(w))
			bytes += w.Bytes()
		}
	}
	for i, w := range o.ws {
		if w != nil {
			if o.piecesPerStep[i] = 1; o.stepBytes(w) > unit {
				o.piecesPerStep[i] = o.stepBytes(w) / unit
			}
			pieces += o.countSteps(w) * o.piecesPerStep[i]
		}
	}
	return pieces, bytes
}

// countSteps is the number of steps of a matrix: row blocks, or what streamSteps says.
func (o *gemv) countSteps(w *weight) int {
	if o.vectors {
		return (w.shape[0] + blockRows - 1) / blockRows
	}
	return w.streamSteps()
}

// stepBytes is the size of a step.
func (o *gemv) stepBytes(w *weight) int {
	if o.vectors {
		return blockRows * w.kind().RowBytes(w.shape[1])
	}
	return w.stepBytes()
}

// gcd divides nothing where a and b are the same, as they are but for unlike types.
func gcd(a, b int) int {
	for a != b && b > 0 {
		a, b = b, a%b
	}
	return max(a, 1)
}

// steps is the steps of matrix i that begin in the pieces lo..hi-1.
func (o *gemv) steps(i, lo, hi int) (a, b int) {
	for j := range i {
		n := o.countSteps(o.ws[j]) * o.piecesPerStep[j]
		lo, hi = lo-n, hi-n
	}
	if per := o.piecesPerStep[i]; per > 1 {
		lo, hi = (lo+per-1)/per, (hi+per-1)/per
	}
	return max(lo, 0), min(hi, o.countSteps(o.ws[i]))
}

// gemvPart computes some rows of each of the matrices in d.gemv, counted over them.
func (d *Device) gemvPart(worker, lo, hi int) {
	o := &d.gemv
	for i, w := range o.ws {
		if w == nil {
			break
		}
		if a, b := o.steps(i, lo, hi); a < b {
			d.gemvSteps(o.out[i], w, a, b, d.arrangedInput(worker, &o.gemvInput, w.kind()))
		}
	}
}

// gemvSteps computes the rows of steps lo..hi-1 of a matrix for the vectors of d.gemv, arranged.
func (d *Device) gemvSteps(to gemvOutput, w *weight, lo, hi int, x []float32) {
	o := &d.gemv
	if o.vectors {
		d.rowsTimesVectors(to, w, lo*blockRows, min(hi*blockRows, w.shape[0]), x, o.n, o.add)
		return
	}
	d.gemvRows(to.y, to.ld, w, lo, hi, x, o.n, o.add)
}

// streamSteps is how long a stream of the matrix is, in rows. A worker reads some rows at a
// time, each along a range of its own, so that memory is read without a jump: row j of
// stream i is row i*strides+j of the matrix. A part of the work is a range of j, so that
// the parts of a worker follow on one another in each of the streams, and what was
// asked for ahead is what comes next.
func (w *weight) streamSteps() int {
	t, _ := w.bytes()
	return (w.shape[0] + t.Streams() - 1) / t.Streams()
}

// stepBytes is what one row of each stream takes.
func (w *weight) stepBytes() int {
	t, _ := w.bytes()
	_, c := w.rowsCols()
	return t.Streams() * t.RowBytes(c)
}

// gemvRows computes y[i*ldy+r] (+)= W[r] . x[i] for the rows at lo..hi-1 of all
// streams of a matrix of c columns and n vectors, arranged for its type. The vectors
// take turns while the rows are in the first cache.
func (d *Device) gemvRows(y []float32, ldy int, w *weight, lo, hi int, x []float32, n int, add bool) {
	t, base := w.bytes()
	total, c := w.rowsCols()
	size, bytes, stride, streams := kernel.VectorStride(c), t.RowBytes(c), w.streamSteps(), t.Streams()
	var rows [kernel.MaxStreams]unsafe.Pointer
	var out [192]float32
	for r := lo; r < hi; {
		many := min(hi-r, len(out)/streams)
		if n > 1 { // more would leave the first cache before their turn comes again
			many = min(many, max(l1Bytes/(streams*bytes), 1))
		}
		for i := range streams {
			rows[i] = rows[0] // stands in where a stream is shorter
			if at := r + i*stride; at < total {
				rows[i], many = unsafe.Add(base, at*bytes), min(many, total-at)
			}
		}
		for v := range n {
			d.set.DotRows(t, out[:many*streams], &rows, x[v*size:(v+1)*size], c)
			if streams == 6 && r+5*stride < total {
				storeSixStreams(y[v*ldy+r:], stride, out[:many*streams], add)
				continue
			}
			for i, at := 0, r; i < streams && at < total; i, at = i+1, at+stride {
				var scales []float32
				if w.i8 != nil {
					scales = w.i8.scales[at : at+many]
				}
				storeStream(y[v*ldy+at:v*ldy+at+many], out[i:], streams, scales, add)
			}
		}
		r += many
	}
}

// l1Bytes is how much of a core's first cache rows may take.
const l1Bytes = 16 << 10

// storeSixStreams puts the products of six streams to y, a stride apart, or adds
// them.   y [5*stride+k], x [k, 6]
func storeSixStreams(y []float32, stride int, x []float32, add bool) {
	y0 := y[:len(x)/6]
	y1, y2, y3 := y[stride:][:len(y0)], y[2*stride:][:len(y0)], y[3*stride:][:len(y0)]
	y4, y5 := y[4*stride:][:len(y0)], y[5*stride:][:len(y0)]
	if add {
		for j := range y0 {
			f := x[6*j : 6*j+6 : 6*j+6]
			y0[j], y1[j], y2[j], y3[j], y4[j], y5[j] = y0[j]+f[0], y1[j]+f[1], y2[j]+f[2], y3[j]+f[3], y4[j]+f[4], y5[j]+f[5]
		}
		return
	}
	for j := range y0 {
		f := x[6*j : 6*j+6 : 6*j+6]
		y0[j], y1[j], y2[j], y3[j], y4[j], y5[j] = f[0], f[1], f[2], f[3], f[4], f[5]
	}
}

// storeStream puts every step-th of x into y, or adds it, times scales where there are any.
// y, scales [k], x [k, step]
func storeStream(y, x []float32, step int, scales []float32, add bool) {
	for j := range y {
		f := x[j*step]
		if scales != nil {
			f *= scales[j]
		}
		if add {
			f += y[j]
		}
		y[j] = f
	}
}
