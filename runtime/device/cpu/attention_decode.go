package cpu

import (
	"math"
	"slices"

	kernel "mop/kernels/cpu"
	"mop/runtime/device"
)

// attentionChunk is how many positions decode attention takes at a time for one KV head of one
// row. The workers share the chunks of a long context. The order of the sums follows from the
// size alone, not from the number of workers.
const attentionChunk = 256

// attentionRow is a row of queries: its number, the cached pages of its sequence, the number
// of positions that it sees, and how many units of work (a KV head and a chunk) come before
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
	cache *kvCache
	hs    device.AttentionShape
	rows  []attentionRow
	parts []partial // [rows, H, chunks]
	out   []float32 // [rows, H, chunks, Dh], of rows of more than one chunk
}

// decodeAttention computes Attention for the query heads of one KV head and one chunk of a row's
// positions at a time. Where a row has more than one chunk, their results are then combined in
// order.
func (d *Device) decodeAttention(ab, qb *buffer, cache *kvCache, hs device.AttentionShape, spans []device.Span) {
	o := &d.attention
	o.a, o.q, o.cache, o.hs, o.rows = ab, qb, cache, hs, o.rows[:0]
	units, bytes, long := 0, int64(0), false
	for _, s := range spans {
		for i := range s.Len {
			r := attentionRow{s.Row + i, cache.slots[s.Slot], s.Start + i + 1, units}
			units += hs.K * r.chunks()
			bytes += int64(r.T) * int64(hs.H*hs.Dh*8)
			long = long || r.chunks() > 1
			o.rows = append(o.rows, r)
		}
	}
	if units == 0 {
		return
	}
	parts := units * (hs.H / hs.K)
	o.parts = slices.Grow(o.parts[:0], parts)[:parts]
	o.out = d.shared.take(1, parts*hs.Dh)
	d.shareWork(units, bytes, d.parts.attention)
	if long {
		d.pool.run(len(o.rows)*hs.H, 1, d.parts.combine)
	}
}

// part is the number of a head's part of a chunk, among those of all rows.
func (o *decodeAttention) part(r *attentionRow, h, c int) int {
	return r.unit*(o.hs.H/o.hs.K) + h*r.chunks() + c
}

// output is where a head's sums over a chunk go, and those of the heads behind it, some floats
// apart.   y [.., Dh]
func (o *decodeAttention) output(r *attentionRow, h, c int) (y []float32, apart int) {
	if r.chunks() == 1 {
		return o.a.row(r.row)[h*o.hs.Dh : o.hs.H*o.hs.Dh], o.hs.Dh
	}
	return o.out[o.part(r, h, c)*o.hs.Dh:], r.chunks() * o.hs.Dh
}

// attentionPart computes units lo..hi-1 of d.attention.
func (d *Device) attentionPart(worker, lo, hi int) {
	o, i := &d.attention, 0
	for u := lo; u < hi; u++ {
		i = o.rowOf(u, i)
		r := &o.rows[i]
		k, c := (u-r.unit)/r.chunks(), (u-r.unit)%r.chunks()
		if o.hs.Dh%16 > 0 || o.cache.int8 {
			d.attendHeadsFloat32(worker, r, k, c)
			continue
		}
		next, bytes := o.keysOf(u+1, i)
		d.attendHeads(worker, r, k, c, next, bytes)
	}
}

// rowOf is the row of a unit, which is row i or one behind it.
func (o *decodeAttention) rowOf(unit, i int) int {
	for i+1 < len(o.rows) && o.rows[i+1].unit <= unit {
		i++
	}
	return i
}

// keysOf says where the keys of a unit of row i or one behind it lie, for prefetching; no bytes
// where there is no such unit.
func (o *decodeAttention) keysOf(unit, i int) (at uintptr, bytes int) {
	r := &o.rows[o.rowOf(unit, i)]
	k, c := (unit-r.unit)/r.chunks(), (unit-r.unit)%r.chunks()
	if k >= o.hs.K {
		return 0, 0
	}
	_, p := r.pages[c].keys.pointer(o.cache.head(k))
	return uintptr(p), min(attentionChunk, r.T-c*attentionChunk) * o.hs.Dh * o.cache.kind.Size()
}

// attendHeads computes the sums of chunk c for all query heads of KV head k, up to four at a
// time: keys and values are read once for them, in the type of the cache. Meanwhile it prefetches
// some bytes from next on.
func (d *Device) attendHeads(worker int, r *attentionRow, k, c int, next uintptr, nextBytes int) {
	o := &d.attention
	hs, share := o.hs, o.hs.H/o.hs.K
	T, w := min(attentionChunk, r.T-c*attentionChunk), &d.workers[worker]
	at, bytes := o.cache.head(k), T*hs.Dh*o.cache.kind.Size()
	t, keys := r.pages[c].keys.pointer(at)
	_, values := r.pages[c].values.pointer(at)
	scores := w.take(0, 4*attentionChunk)
	for i := 0; i < share; {
		n, h := vectorGroup(share-i), k*share+i
		q := o.q.row(r.row)[h*hs.Dh : (h+n)*hs.Dh]
		if n == 1 { // QueryScores reads two
			two := w.take(2, 2*hs.Dh)
			copy(two, q)
			copy(two[hs.Dh:], q)
			q = two
		}
		d.set.QueryScores(t, scores, attentionChunk, keys, T, q, n, hs.Dh, uintptr(values), bytes)
		for j := range n {
			d.softmaxChunk(scores[j*attentionChunk:j*attentionChunk+T], &o.parts[o.part(r, h+j, c)])
		}
		y, apart := o.output(r, h, c)
		d.set.WeightedSums(t, y, apart, scores, attentionChunk, values, T, n, hs.Dh, next, nextBytes)
		d.finishChunk(r, h, n, c)
		bytes, nextBytes = 0, 0
		i += n
	}
}

// attendHeadsFloat32 is attendHeads for head sizes and types of the cache that QueryScores does not
// take: it converts the chunk to float32 first.
func (d *Device) attendHeadsFloat32(worker int, r *attentionRow, k, c int) {
	o := &d.attention
	hs, share := o.hs, o.hs.H/o.hs.K
	T, w, at := min(attentionChunk, r.T-c*attentionChunk), &d.workers[worker], o.cache.head(k)
	keys := r.pages[c].keys.head(d.set, w.take(2, T*hs.Dh), at, T*hs.Dh)
	values := r.pages[c].values.head(d.set, w.take(3, T*hs.Dh), at, T*hs.Dh)
	z := w.take(0, T)
	for h := k * share; h < (k+1)*share; h++ {
		d.set.Scores(z, o.q.row(r.row)[h*hs.Dh:(h+1)*hs.Dh], keys, hs.Dh)
		d.softmaxChunk(z, &o.parts[o.part(r, h, c)])
		y, _ := o.output(r, h, c)
		d.set.WeightedSum(y[:hs.Dh], z, values, hs.Dh)
		d.finishChunk(r, h, 1, c)
	}
}

// softmaxChunk replaces the products of a query and a chunk's keys by the exponentials of the
// scores.
func (d *Device) softmaxChunk(z []float32, p *partial) {
	scale := float32(1 / math.Sqrt(float64(d.attention.hs.Dh)))
	p.top = scale * d.set.Max(z)
	d.set.ExpScaled(z, z, scale, p.top)
	p.sum = d.set.Sum(z)
}

// finishChunk divides the sums of n heads by those of their weights where there is no other
// chunk.
func (d *Device) finishChunk(r *attentionRow, h, n, c int) {
	o := &d.attention
	if r.chunks() > 1 {
		return
	}
	for j := h; j < h+n; j++ {
		scaleVector(o.a.row(r.row)[j*o.hs.Dh:(j+1)*o.hs.Dh], 1/o.parts[o.part(r, j, c)].sum)
	}
}

// scaleVector scales y.
func scaleVector(y []float32, f float32) {
	for i := range y {
		y[i] *= f
	}
}

// combinePart combines the chunks of heads lo..hi-1 of the rows of d.attention, a split-KV
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
		first := o.part(r, h, 0)
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
