package cpu

import (
	"math"

	"mop/runtime/device"
)

// queryRows is how many queries of a head are taken at a time: their scores
// [queryRows, T] are all that exists.
const queryRows = 96

// AttentionForward: see device.Trainer. Each worker owns heads of a span.
func (d *Device) AttentionForward(a, stats, q, k, v device.Buffer, hs device.AttentionShape, spans []device.Span) {
	ab, sb, qb, kb, vb := data(a), data(stats), data(q), data(k), data(v)
	scale := float32(1 / math.Sqrt(float64(hs.Dh)))
	d.pool.run(hs.H*len(spans), 1, func(worker, lo, hi int) {
		p := &d.workers[worker].panels
		for j := lo; j < hi; j++ {
			s, h := spans[j/hs.H], j%hs.H
			kv := h / (hs.H / hs.K) * hs.Dh
			keys, values := rowMajor(kb.data, kb.cols).at(s.Row, kv), rowMajor(vb.data, vb.cols).at(s.Row, kv)
			for i0 := 0; i0 < s.Len; i0 += queryRows {
				n := min(queryRows, s.Len-i0)
				T := i0 + n
				z := d.temp(worker, n*T)
				p.product(d.set, z, T, n, T, hs.Dh, rowMajor(qb.data, qb.cols).at(s.Row+i0, h*hs.Dh).scaled(scale), keys.transposed(), false)
				var inverse [queryRows]float32
				for i := range n {
					row, seen := z[i*T:(i+1)*T], i0+i+1
					top := d.set.Max(row[:seen])
					d.set.ExpScaled(row[:seen], row[:seen], 1, top)
					sum := d.set.Sum(row[:seen])
					sb.row(s.Row + i0 + i)[h], inverse[i] = top+float32(math.Log(float64(sum))), 1/sum
					clear(row[seen:])
				}
				p.product(d.set, ab.data[(s.Row+i0)*ab.cols+h*hs.Dh:], ab.cols, n, hs.Dh, T, rowMajor(z, T), values, false)
				for i := range n {
					scaleVector(ab.row(s.Row + i0 + i)[h*hs.Dh:(h+1)*hs.Dh], inverse[i])
				}
			}
		}
	})
}

// AttentionBackward: see device.Trainer. Each worker owns KV heads of a span, whose
// query heads it takes in order.
func (d *Device) AttentionBackward(dq, dk, dv, da, a, stats, q, k, v device.Buffer, hs device.AttentionShape, spans []device.Span) {
	dqb, dkb, dvb, dab, ab, sb, qb, kb, vb := data(dq), data(dk), data(dv), data(da), data(a), data(stats), data(q), data(k), data(v)
	scale := float32(1 / math.Sqrt(float64(hs.Dh)))
	group := hs.H / hs.K
	d.pool.run(hs.K*len(spans), 1, func(worker, lo, hi int) {
		w := &d.workers[worker].panels
		for j := lo; j < hi; j++ {
			s, kv := spans[j/hs.K], j%hs.K*hs.Dh
			keys, values := rowMajor(kb.data, kb.cols).at(s.Row, kv), rowMajor(vb.data, vb.cols).at(s.Row, kv)
			dkeys, dvalues := dkb.data[s.Row*dkb.cols+kv:], dvb.data[s.Row*dvb.cols+kv:]
			for i := range s.Len {
				clear(dkeys[i*dkb.cols:][:hs.Dh])
				clear(dvalues[i*dvb.cols:][:hs.Dh])
			}
			for g := range group {
				h := j%hs.K*group + g
				at := h * hs.Dh
				for i0 := 0; i0 < s.Len; i0 += queryRows {
					n := min(queryRows, s.Len-i0)
					T, r0 := i0+n, s.Row+i0
					z := d.temp(worker, 2*n*T)
					p, ds := z[:n*T], z[n*T:]
					queries, grad := rowMajor(qb.data, qb.cols).at(r0, at), rowMajor(dab.data, dab.cols).at(r0, at)
					w.product(d.set, p, T, n, T, hs.Dh, queries.scaled(scale), keys.transposed(), false)
					w.product(d.set, ds, T, n, T, hs.Dh, grad, values.transposed(), false)
					for i := range n {
						lse := sb.row(r0 + i)[h]
						var delta float32
						out, og := ab.row(r0 + i)[at:at+hs.Dh], dab.row(r0 + i)[at:at+hs.Dh]
						for c := range out {
							delta += out[c] * og[c]
						}
						pr, dr := p[i*T:(i+1)*T], ds[i*T:(i+1)*T]
						T := i0 + i + 1
						d.set.ExpScaled(pr[:T], pr[:T], 1, lse)
						for t, e := range pr[:T] {
							dr[t] = e * (dr[t] - delta) * scale
						}
						clear(pr[T:])
						clear(dr[T:])
					}
					w.product(d.set, dvalues, dvb.cols, T, hs.Dh, n, rowMajor(p, T).transposed(), grad, true)
					w.product(d.set, dkeys, dkb.cols, T, hs.Dh, n, rowMajor(ds, T).transposed(), queries, true)
					w.product(d.set, dqb.data[r0*dqb.cols+at:], dqb.cols, n, hs.Dh, T, rowMajor(ds, T), keys, false)
				}
			}
		}
	})
}
