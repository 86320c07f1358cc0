package cpu

import (
	"math"

	kernel "mop/kernels/cpu"
	"mop/runtime/device"
)

// Attend: see device.Device.
func (d *Device) Attend(_ device.Kind, a, q device.Buffer, kv device.KV, hs device.Heads, spans []device.Span) {
	ab, qb, kb, vb := data(a), data(q), data(kv.Keys), data(kv.Values)
	group := hs.H / hs.K
	scale := float32(1 / math.Sqrt(float64(hs.Dh)))
	nk := hs.K * hs.Dh
	for _, s := range spans {
		base := s.Seq * kv.Capacity * nk
		// (head, token) pairs, token fastest; a decode step cuts by heads.
		d.pool.run(hs.H*s.Len, 1, func(worker, lo, hi int) {
			scores := d.workers[worker].take(0, s.Start+s.Len)
			for j := lo; j < hi; j++ {
				h, i := j/s.Len, j%s.Len
				row, T := s.Row+i, s.Start+i+1
				qh := qb.row(row)[h*hs.Dh : (h+1)*hs.Dh]
				at := base + h/group*hs.Dh
				top := float32(math.Inf(-1))
				for t := range T {
					v := kernel.Dot(qh, kb.data[at+t*nk:at+t*nk+hs.Dh]) * scale
					scores[t] = v
					top = max(top, v)
				}
				out := ab.row(row)[h*hs.Dh : (h+1)*hs.Dh]
				clear(out)
				var sum float32
				for t := range T {
					e := float32(math.Exp(float64(scores[t] - top)))
					sum += e
					kernel.Axpy(out, e, vb.data[at+t*nk:at+t*nk+hs.Dh])
				}
				for i := range out {
					out[i] /= sum
				}
			}
		})
	}
}
