package cpu

import (
	"math"

	kernel "mop/kernels/cpu"
	"mop/runtime/device"
)

// Attention: see device.Device.
func (d *Device) Attention(kind device.Phase, a, q device.Buffer, kv device.KVCache, hs device.AttentionShape, spans []device.Span) {
	ab, qb, cache := data(a), data(q), kv.(*kvCache)
	if kind == device.Decode {
		d.decodeAttention(ab, qb, cache, hs, spans)
		return
	}
	heads := headsAtOnce(hs)
	for _, s := range spans {
		blocks := (s.Len + queryBlock - 1) / queryBlock
		d.pool.run(hs.H/heads*blocks, 1, func(worker, lo, hi int) {
			for j := lo; j < hi; j++ {
				i0 := j % blocks * queryBlock
				part := device.Span{Slot: s.Slot, Start: s.Start + i0, Row: s.Row + i0, Len: min(queryBlock, s.Len-i0)}
				d.prefillAttentionBlock(worker, ab, qb, cache, hs, j/blocks*heads, heads, part)
			}
		})
	}
}

// headsAtOnce is how many query heads of one KV head share its packed keys and values: the
// largest number up to four that divides the heads of a KV head.
func headsAtOnce(hs device.AttentionShape) int {
	n := 4
	for hs.H/hs.K%n > 0 {
		n--
	}
	return n
}

// Block sizes of prefill attention: scores are computed for so many queries and keys at a
// time. Blocks of keys begin at multiples of keyBlock positions, so that a query's sums do
// not depend on its neighbours.
const (
	queryBlock = 48
	keyBlock   = 64
)

// prefillAttentionBlock computes Attention for some heads of one KV head, from h on, and at most
// queryBlock rows. It goes over blocks of keys with a running maximum of the scores and a
// running sum of exponentials (online softmax). Row j of head h+i is row i*s.Len+j here.
func (d *Device) prefillAttentionBlock(worker int, ab, qb *buffer, cache *kvCache, hs device.AttentionShape, h, heads int, s device.Span) {
	w := &d.workers[worker]
	n := heads * s.Len
	z, y := w.take(2, n*keyBlock), w.take(3, n*hs.Dh)
	for i := range n {
		from := (h + i/s.Len) * hs.Dh
		copy(y[i*hs.Dh:(i+1)*hs.Dh], qb.row(s.Row + i%s.Len)[from:from+hs.Dh])
	}
	queries := newPackedLeft(d.set, &w.scratch[0], n, hs.Dh, float32s)
	queries.pack(d.set, rowMajor(y, hs.Dh).scaled(float32(1/math.Sqrt(float64(hs.Dh)))), 0, queries.panels())
	clear(y)
	var tops, sums [4 * queryBlock]float32
	for i := range tops {
		tops[i] = float32(math.Inf(-1))
	}
	for t0 := 0; t0 < s.Start+s.Len; t0 += keyBlock {
		T := min(keyBlock, s.Start+s.Len-t0)
		page, row := cache.page(s.Slot, t0)
		keys, values := cache.block(w, page, row, h/(hs.H/hs.K), hs.Dh, T)
		w.panels.multiply(d.set, z, keyBlock, &queries, 0, queries.panels(), keys.transposed(), 0, T, false)
		for i := range n {
			row := z[i*keyBlock : i*keyBlock+T]
			seen := min(max(s.Start+i%s.Len+1-t0, 0), T)
			clear(row[seen:])
			if seen > 0 {
				d.onlineSoftmax(row[:seen], y[i*hs.Dh:(i+1)*hs.Dh], &tops[i], &sums[i])
			}
		}
		weights := newPackedLeft(d.set, &w.panels.left, n, T, float32s)
		weights.pack(d.set, rowMajor(z, keyBlock), 0, weights.panels())
		w.panels.multiply(d.set, y, hs.Dh, &weights, 0, weights.panels(), values, 0, hs.Dh, true)
	}
	for i := range n {
		to, f := ab.row(s.Row + i%s.Len)[(h+i/s.Len)*hs.Dh:][:hs.Dh], 1/sums[i]
		for j := range to {
			to[j] = y[i*hs.Dh+j] * f
		}
	}
}

// onlineSoftmax replaces the scores z of a block by exp(z - top), top being the largest score
// so far, and adds them to sum. If top grows, sum and the weighted values y that were summed
// under the old one are rescaled.   z [T], y [Dh]
func (d *Device) onlineSoftmax(z, y []float32, top, sum *float32) {
	most := max(*top, d.set.Max(z))
	if most != *top {
		keep := kernel.Exp32(*top - most)
		*sum *= keep
		for j := range y {
			y[j] *= keep
		}
		*top = most
	}
	d.set.ExpScaled(z, z, 1, most)
	*sum += d.set.Sum(z)
}
