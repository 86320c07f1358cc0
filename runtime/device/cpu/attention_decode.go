package cpu

import (
	"math"
	"slices"

	kernel "mop/kernels/cpu"
	"mop/runtime/device"
)

// attentionChunk is how many positions decode attention takes at a time for one head of one
// row. The keys and values of a chunk stay in the L2 cache for all query heads that read
// them, and the workers share the chunks of a long context. The order of the sums follows
// from the size alone, not from the number of workers.
const attentionChunk = 256

// attentionRow is a row of queries: its number, the cached pages of its sequence, the number
// of positions that it sees, and how many units of work (a head and a chunk) come before
// its own.
type attentionRow struct {
	row     int
	pages   []kvPage // one for each chunk
	T, unit int
}

// chunks is the number of chunks of the row's positions.
func (r *attentionRow) chunks() int { return (r.T + attentionChunk - 1) / attentionChunk }

// partial is the softmax over a chunk of positions: the largest scaled score, and the sum of
// the exponentials of scores minus that.
type partial struct{ top, sum float32 }

// decodeAttention is what the workers of attendRows share.
type decodeAttention struct {
	a, q  *buffer
	hs    device.AttentionShape
	rows  []attentionRow
	parts []partial // [rows, H, chunks]
	out   []float32 // [rows, H, chunks, Dh], of rows of more than one chunk
}

// decodeAttention computes Attention for one head and one chunk of a row's positions at a
// time. Where a row has more than one chunk, their results are then combined in order.
func (d *Device) decodeAttention(ab, qb *buffer, cache *kvCache, hs device.AttentionShape, spans []device.Span) {
	o := &d.attention
	o.a, o.q, o.hs, o.rows = ab, qb, hs, o.rows[:0]
	units, bytes, long := 0, int64(0), false
	for _, s := range spans {
		for i := range s.Len {
			r := attentionRow{s.Row + i, cache.slots[s.Slot], s.Start + i + 1, units}
			units += hs.H * r.chunks()
			bytes += int64(r.T) * int64(hs.H*hs.Dh*8)
			long = long || r.chunks() > 1
			o.rows = append(o.rows, r)
		}
	}
	o.parts = slices.Grow(o.parts[:0], units)[:units]
	o.out = d.shared.take(1, units*hs.Dh)
	d.shareWork(units, bytes, d.parts.attention)
	if long {
		d.pool.run(len(o.rows)*hs.H, 1, d.parts.combine)
	}
}

// output is where a head's sums over a chunk go.   y [Dh]
func (o *decodeAttention) output(r *attentionRow, h, c int) (y []float32, p *partial) {
	at := r.unit + h*r.chunks() + c
	if r.chunks() == 1 {
		return o.a.row(r.row)[h*o.hs.Dh : (h+1)*o.hs.Dh], &o.parts[at]
	}
	return o.out[at*o.hs.Dh : (at+1)*o.hs.Dh], &o.parts[at]
}

// attentionPart computes units lo..hi-1 of d.attends, each one head and one chunk.
func (d *Device) attentionPart(worker, lo, hi int) {
	o := &d.attention
	hs, rows := o.hs, o.rows
	share, nk := hs.H/hs.K, hs.K*hs.Dh
	scale := float32(1 / math.Sqrt(float64(hs.Dh)))
	w := &d.workers[worker]
	z, i := w.take(0, attentionChunk), 0
	// The keys and values of a KV head's chunk, as float32, for all of its query heads.
	var keys, values []float32
	var stride int
	chunkOf := [3]int{-1} // row, KV head and chunk that they are of
	for u := lo; u < hi; u++ {
		for i+1 < len(rows) && rows[i+1].unit <= u {
			i++
		}
		r := &rows[i]
		chunks := r.chunks()
		// The heads of one KV head come one after another, chunk by chunk.
		k, c, of := (u-r.unit)/share/chunks, (u-r.unit)/share%chunks, (u-r.unit)%share
		h, t0 := k*share+of, c*attentionChunk
		z := z[:min(attentionChunk, r.T-t0)]
		if id := [3]int{i, k, c}; id != chunkOf {
			chunkOf = id
			page, at := &r.pages[c], k*hs.Dh
			keys, stride = page.keys.head(d.set, w.take(2, len(z)*hs.Dh), at, nk, len(z), hs.Dh)
			values, _ = page.values.head(d.set, w.take(3, len(z)*hs.Dh), at, nk, len(z), hs.Dh)
		}
		d.set.Scores(z, o.q.row(r.row)[h*hs.Dh:(h+1)*hs.Dh], keys, stride)
		y, p := o.output(r, h, c)
		p.top = scale * d.set.Max(z)
		d.set.ExpScaled(z, z, scale, p.top)
		p.sum = d.set.Sum(z)
		d.set.WeightedSum(y, z, values, stride)
		if chunks == 1 {
			scaleVector(y, 1/p.sum)
		}
	}
}

// scaleVector scales y.
func scaleVector(y []float32, f float32) {
	for i := range y {
		y[i] *= f
	}
}

// combinePart combines the chunks of heads lo..hi-1 of the rows of d.attends, a split-KV
// reduction.
func (d *Device) combinePart(_, lo, hi int) {
	o := &d.attention
	hs := o.hs
	for j := lo; j < hi; j++ {
		r, h := &o.rows[j/hs.H], j%hs.H
		chunks := r.chunks()
		if chunks == 1 {
			continue
		}
		first := r.unit + h*chunks
		top, sum := o.parts[first].top, float32(0)
		for u := first; u < first+chunks; u++ {
			top = max(top, o.parts[u].top)
		}
		y := o.a.row(r.row)[h*hs.Dh : (h+1)*hs.Dh]
		clear(y)
		for u := first; u < first+chunks; u++ {
			f := kernel.Exp32(o.parts[u].top - top)
			sum += f * o.parts[u].sum
			kernel.Axpy(y, f, o.out[u*hs.Dh:(u+1)*hs.Dh])
		}
		scaleVector(y, 1/sum)
	}
}
