package cpu

import (
	"mop/runtime/device"
)

// QKV: see device.Device.
func (d *Device) QKV(kind device.Phase, q device.Buffer, kv device.KVCache, x device.Buffer, norm, wq, wk, wv device.Weight, eps float64, hs device.AttentionShape, rope device.RoPEFrequencies, spans []device.Span) {
	n, last := 0, 0
	for _, s := range spans {
		n, last = max(n, s.Row+s.Len), max(last, s.Start+s.Len)
	}
	ws := [3]*weight{asWeight(wq), asWeight(wk), asWeight(wv)}
	_, c := ws[0].rowsCols()
	nk := hs.K * hs.Dh
	// Keys and values are computed in scratch memory and then copied to the cache.
	to := [3]gemvOutput{{data(q).data, data(q).cols}, {d.shared.take(2, n*nk), nk}, {d.shared.take(3, n*nk), nk}}
	if kind == device.Prefill {
		d.multiplyQKV(d.normed(data(x), n, norm, eps), n, c, ws, to)
	} else {
		d.gemv = gemv{gemvInput: d.newInput(data(x).data, n, c, ws[:]...), ws: ws, out: to}
		d.gemv.gain, d.gemv.eps = asWeight(norm).gain, eps
		d.runGEMV()
	}
	table := d.ropeTable(rope, last)
	if kind == device.Decode {
		d.append = appendRows{table, kv.(*kvCache), hs, spans, to}
		if len(spans) < minSharedRows {
			d.parts.append(0, 0, len(spans))
		} else {
			d.pool.split(len(spans), 1, d.pool.threads, 1, d.parts.append)
		}
		return
	}
	for _, s := range spans {
		d.pool.run(s.Len, 8, func(_, lo, hi int) { appendToCache(table, kv.(*kvCache), hs, s, to, lo, hi) })
	}
}

// multiplyQKV computes W h for three matrices in a prefill pass.   h [n, c]
func (d *Device) multiplyQKV(h []float32, n, c int, ws [3]*weight, to [3]gemvOutput) {
	l := d.packLeft(rowMajor(h, c), n, c, ws[0].view().transposed(), ws[1].view().transposed(), ws[2].view().transposed())
	d.shareColumns(l, []int{ws[0].shape[0], ws[1].shape[0], ws[2].shape[0]}, func(worker, which, j0, j1, i0, i1 int) {
		y := to[which]
		d.workers[worker].panels.multiply(d.set, y.y[i0*l.rows*y.ld+j0:], y.ld, l, i0, i1, ws[which].view().transposed(), j0, j1, false)
	})
}

// appendRows is what the workers share that append the rows of a decode pass to the cache.
type appendRows struct {
	table *ropeTable
	cache *kvCache
	hs    device.AttentionShape
	spans []device.Span
	qkv   [3]gemvOutput
}

// minSharedRows is from how many rows on they are shared: fewer are done before another worker
// knows of them.
const minSharedRows = 4

// appendPart appends spans lo..hi-1 of d.append to the cache.
func (d *Device) appendPart(_, lo, hi int) {
	o := &d.append
	for _, s := range o.spans[lo:hi] {
		appendToCache(o.table, o.cache, o.hs, s, o.qkv, 0, s.Len)
	}
}

// appendToCache rotates the queries and keys of rows lo..hi-1 of a span (RoPE) and copies keys
// and values to the cache.   q [.., H*Dh], k and v [.., K*Dh]
func appendToCache(table *ropeTable, cache *kvCache, hs device.AttentionShape, s device.Span, qkv [3]gemvOutput, lo, hi int) {
	for i := lo; i < hi; i++ {
		cos, sin := table.at(s.Start + i)
		row := s.Row + i
		q, k, v := qkv[0].row(row)[:hs.H*hs.Dh], qkv[1].row(row), qkv[2].row(row)
		rotate(q, hs.Dh, cos, sin)
		rotate(k, hs.Dh, cos, sin)
		cache.store(s.Slot, s.Start+i, k[:hs.K*hs.Dh], v[:hs.K*hs.Dh])
	}
}
