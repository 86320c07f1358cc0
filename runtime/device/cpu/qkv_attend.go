package cpu

import (
	"slices"

	kernel "mop/kernels/cpu"
	"mop/runtime/device"
)

// fusing is what QKVAttend needs beside d.along and d.attends.
type fusing struct{ cos, sin []float32 } // of the position   [Dh/2]

// QKVAttend: see device.Fuser. One row of a model of thin heads: each worker goes from the
// weights of some heads to what they attend to. Else the two operations are done.
func (d *Device) QKVAttend(kind device.Phase, a, q device.Buffer, kv device.KVCache, x device.Buffer, norm, wq, wk, wv device.Weight, eps float64, hs device.AttentionShape, rope device.RoPEFrequencies, spans []device.Span) {
	ws := [3]*weight{stored(wq), stored(wk), stored(wv)}
	alike := ws[0].kind() != kernel.I8 && ws[0].kind() == ws[1].kind() && ws[0].kind() == ws[2].kind()
	if kind != device.Decode || d.set == kernel.Generic || !octets(hs) || !alike || len(spans) != 1 || spans[0].Len > 1 || spans[0].Start >= attendChunk {
		d.QKV(kind, q, kv, x, norm, wq, wk, wv, eps, hs, rope, spans)
		d.Attention(kind, a, q, kv, hs, spans)
		return
	}
	s, nk := spans[0], hs.K*hs.Dh
	d.along = along{input: d.input(data(x).row(s.Row), 1, data(x).cols, ws[:]...), ws: ws,
		to: [3]target{{data(q).row(s.Row), nk}, {d.shared.take(2, nk), nk}, {d.shared.take(3, nk), nk}}}
	d.along.gain, d.along.eps = stored(norm).gain, eps
	r := attendRow{row: s.Row, base: s.Seq * kv.Capacity, T: s.Start + 1}
	o := &d.attends
	o.a, o.q, o.k, o.v, o.hs, o.rows = data(a), data(q), data(kv.Keys), data(kv.Values), hs, append(o.rows[:0], r)
	o.parts = slices.Grow(o.parts[:0], hs.H)[:hs.H]
	d.fused.cos, d.fused.sin = d.table(rope, r.T).at(s.Start)
	d.spread(hs.H, ws[0].Bytes()+ws[1].Bytes()+ws[2].Bytes()+int64(r.T*nk*8), d.parts.fused)
}

// fusedPart is QKVAttend for the heads lo..hi-1.
func (d *Device) fusedPart(worker, lo, hi int) {
	const n = kernel.OctetSize
	o, f := &d.along, &d.attends
	x := d.arranged(worker, &o.input, o.ws[0].kind())
	var qkv [3][]float32
	var shape [2]int
	for i, w := range o.ws {
		qkv[i] = o.to[i].y[lo*n : hi*n]
		part := w.rows(lo*n, hi*n, &shape)
		d.vectors(qkv[i], (hi-lo)*n, &part, 0, part.strides(), x, 1, false)
	}
	rotate(qkv[0], n, d.fused.cos, d.fused.sin)
	rotate(qkv[1], n, d.fused.cos, d.fused.sin)
	r := &f.rows[0]
	at := r.base + r.T - 1
	copy(f.k.row(at)[lo*n:], qkv[1])
	copy(f.v.row(at)[lo*n:], qkv[2])
	for h := lo; h < hi; h += n {
		d.octet(worker, r, h, min(n, hi-h), 0)
	}
}
