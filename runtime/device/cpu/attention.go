package cpu

import (
	"math"

	kernel "mop/kernels/cpu"
	"mop/runtime/device"
)

// rotate turns the pairs (x[i], x[i+Dh/2]) of each of the heads in x by
// the angle whose cosine and sine are given, in place.
func rotate(x []float32, dh int, cos, sin []float32) {
	half := dh / 2
	for ; len(x) >= dh; x = x[dh:] {
		for i := range half {
			a, b := x[i], x[i+half]
			x[i], x[i+half] = a*cos[i]-b*sin[i], b*cos[i]+a*sin[i]
		}
	}
}

// angles fills cos and sin of pos*InvFreq; the angle is formed in float32, as
// the models were trained.   cos, sin [Dh/2]
func angles(cos, sin []float32, pos int, rope device.Rope) {
	for i, f := range rope.InvFreq {
		s, c := math.Sincos(float64(float32(pos) * f))
		cos[i], sin[i] = float32(c), float32(s)
	}
}

// QKV: see device.Device.
func (d *Device) QKV(_ device.Kind, q device.Buffer, kv device.KV, x device.Buffer, norm, wq, wk, wv device.Weight, eps float64, hs device.Heads, rope device.Rope, spans []device.Span) {
	n := 0
	for _, s := range spans {
		n = max(n, s.Row+s.Len)
	}
	where := make([]int, n) // cache row of each activation row
	pos := make([]int, n)
	for _, s := range spans {
		for i := range s.Len {
			where[s.Row+i], pos[s.Row+i] = s.Seq*kv.Capacity+s.Start+i, s.Start+i
		}
	}
	h := d.normed(data(x), n, norm, eps)
	qb, kb, vb := data(q), data(kv.Keys), data(kv.Values)
	mq, mk, mv := stored(wq), stored(wk), stored(wv)
	nq, c := mq.rowsCols()
	nk := hs.K * hs.Dh
	d.pool.run(nq+2*nk, 4, func(worker, lo, hi int) {
		tmp := d.temp(worker, c)
		mq.rows(tmp, h, n, c, min(lo, nq), min(hi, nq), func(i, r int, v float32) { qb.data[i*nq+r] = v })
		k0, k1 := min(max(lo-nq, 0), nk), min(max(hi-nq, 0), nk)
		mk.rows(tmp, h, n, c, k0, k1, func(i, r int, v float32) { kb.data[where[i]*nk+r] = v })
		v0, v1 := min(max(lo-nq-nk, 0), nk), min(max(hi-nq-nk, 0), nk)
		mv.rows(tmp, h, n, c, v0, v1, func(i, r int, v float32) { vb.data[where[i]*nk+r] = v })
	})
	d.pool.run(n, 8, func(worker, lo, hi int) {
		half := hs.Dh / 2
		cs := d.temp(worker, hs.Dh)
		for i := lo; i < hi; i++ {
			angles(cs[:half], cs[half:], pos[i], rope)
			rotate(qb.row(i), hs.Dh, cs[:half], cs[half:])
			rotate(kb.row(where[i]), hs.Dh, cs[:half], cs[half:])
		}
	})
}

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
			scores := d.temp(worker, s.Start+s.Len)
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
