package cpu

import (
	"mop/runtime/device"
)

// QKV: see device.Device.
func (d *Device) QKV(kind device.Kind, q device.Buffer, kv device.KV, x device.Buffer, norm, wq, wk, wv device.Weight, eps float64, hs device.Heads, rope device.Rope, spans []device.Span) {
	n, last := 0, 0
	for _, s := range spans {
		n, last = max(n, s.Row+s.Len), max(last, s.Start+s.Len)
	}
	to := [3]*buffer{data(q), {}, {}} // keys and values on their way to the cache
	ws := [3]*weight{stored(wq), stored(wk), stored(wv)}
	nq, c := ws[0].rowsCols()
	nk := hs.K * hs.Dh
	widths := []int{nq, nk, nk}
	for i := 1; i < 3; i++ {
		to[i] = &buffer{d.shared.take(1+i, n*nk), n, nk}
	}
	if kind == device.Prefill {
		h := d.normed(data(x), n, norm, eps)
		l := d.packed(rows(h, c), n, c, ws[0].operand().t(), ws[1].operand().t(), ws[2].operand().t())
		d.columns(l, widths, func(worker, which, j0, j1, i0, i1 int) {
			y := to[which]
			d.workers[worker].panels.multiply(d.set, y.data[i0*l.rows*y.cols+j0:], y.cols, l, i0, i1, ws[which].operand().t(), j0, j1, false)
		})
	} else {
		in := d.input(data(x).data, n, c, ws[:]...)
		in.gain, in.eps = stored(norm).gain, eps
		d.apart(&in, to[:], ws[:])
	}
	table, kb, vb := d.table(rope, last), data(kv.Keys), data(kv.Values)
	for _, s := range spans {
		d.pool.run(s.Len, 8, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				cos, sin := table.at(s.Start + i)
				row, at := s.Row+i, s.Seq*kv.Capacity+s.Start+i
				rotate(to[0].row(row)[:nq], hs.Dh, cos, sin)
				rotate(to[1].row(row), hs.Dh, cos, sin)
				copy(kb.row(at), to[1].row(row))
				copy(vb.row(at), to[2].row(row))
			}
		})
	}
}
