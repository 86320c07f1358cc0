package cpu

import (
	"math"

	kernel "mop/kernels/cpu"
	"mop/runtime/device"
)

// Attend: see device.Device.
func (d *Device) Attend(kind device.Kind, a, q device.Buffer, kv device.KV, hs device.Heads, spans []device.Span) {
	ab, qb, kb, vb := data(a), data(q), data(kv.Keys), data(kv.Values)
	if kind == device.Decode {
		d.attendRows(ab, qb, kb, vb, kv.Capacity, hs, spans)
		return
	}
	for _, s := range spans {
		blocks := (s.Len + queryBlock - 1) / queryBlock
		d.pool.run(hs.H*blocks, 1, func(worker, lo, hi int) {
			for j := lo; j < hi; j++ {
				i0 := j % blocks * queryBlock
				part := device.Span{Seq: s.Seq, Start: s.Start + i0, Row: s.Row + i0, Len: min(queryBlock, s.Len-i0)}
				d.attendBlock(worker, ab, qb, kb, vb, kv.Capacity, hs, j/blocks, part)
			}
		})
	}
}

// Blocks of attention in a prefill pass: scores exist for so many queries and keys
// at a time. Keys are cut at multiples of keyBlock positions, so that a query's
// sums do not depend on its neighbours.
const (
	queryBlock = 48
	keyBlock   = 64
)

// attendBlock is Attend for one head of at most queryBlock rows: over blocks of
// keys, with the largest score so far and the sum of exponentials under it.
func (d *Device) attendBlock(worker int, ab, qb, kb, vb *buffer, capacity int, hs device.Heads, h int, s device.Span) {
	w := &d.workers[worker]
	nk, n := hs.K*hs.Dh, s.Len
	at := h / (hs.H / hs.K) * hs.Dh
	keys, values := rows(kb.data, nk).from(s.Seq*capacity, at), rows(vb.data, nk).from(s.Seq*capacity, at)
	queries := newLeft(d.set, &w.scratch[0], n, hs.Dh, float32s)
	queries.pack(d.set, rows(qb.data, qb.cols).from(s.Row, h*hs.Dh).times(float32(1/math.Sqrt(float64(hs.Dh)))), 0, queries.panels())
	z, y := w.take(2, queryBlock*keyBlock), w.take(3, n*hs.Dh)
	clear(y)
	var top, sum [queryBlock]float32
	for i := range top {
		top[i] = float32(math.Inf(-1))
	}
	for t0 := 0; t0 < s.Start+n; t0 += keyBlock {
		T := min(keyBlock, s.Start+n-t0)
		w.panels.multiply(d.set, z, keyBlock, &queries, 0, queries.panels(), keys.from(t0, 0).t(), 0, T, false)
		for i := range n {
			row := z[i*keyBlock : i*keyBlock+T]
			seen := min(max(s.Start+i+1-t0, 0), T)
			clear(row[seen:])
			if row = row[:seen]; seen == 0 {
				continue
			}
			most := max(top[i], d.set.Max(row))
			if most != top[i] {
				keep := kernel.Exp32(top[i] - most)
				sum[i] *= keep
				for j := range hs.Dh {
					y[i*hs.Dh+j] *= keep
				}
				top[i] = most
			}
			d.set.Exps(row, row, 1, most)
			sum[i] += d.set.Sum(row)
		}
		weights := newLeft(d.set, &w.panels.left, n, T, float32s)
		weights.pack(d.set, rows(z, keyBlock), 0, weights.panels())
		w.panels.multiply(d.set, y, hs.Dh, &weights, 0, weights.panels(), values.from(t0, 0), 0, hs.Dh, true)
	}
	for i := range n {
		to, f := ab.row(s.Row + i)[h*hs.Dh:(h+1)*hs.Dh], 1/sum[i]
		for j := range to {
			to[j] = y[i*hs.Dh+j] * f
		}
	}
}
