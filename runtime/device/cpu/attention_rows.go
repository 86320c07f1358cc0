package cpu

import (
	"math"

	kernel "mop/kernels/cpu"
	"mop/runtime/device"
)

// attendChunk is how many positions a head's attention of one row takes at a time: a
// chunk of a KV head's keys and values stays in the second cache for all the heads that
// read it, and the workers share a long context. Its size fixes the order of the sums,
// whoever computes them.
const attendChunk = 256

// attendRow is a row of queries: its number, its first position's row in the cache, the
// positions it sees, and how many units of work come before its own.
type attendRow struct{ row, base, T, first int }

// chunks is how many of them the row's positions make.
func (r *attendRow) chunks() int { return (r.T + attendChunk - 1) / attendChunk }

// partial is softmax over a chunk of positions: the largest scaled score, and the sum of
// exponentials under it.
type partial struct{ top, sum float32 }

// attendRows is Attend for a head and a chunk of a row's positions at a time. Where there
// is more than one chunk, what they gave is then added, weighted, in their order.
func (d *Device) attendRows(ab, qb, kb, vb *buffer, capacity int, hs device.Heads, spans []device.Span) {
	var rows []attendRow
	units, long := 0, false
	for _, s := range spans {
		for i := range s.Len {
			r := attendRow{s.Row + i, s.Seq * capacity, s.Start + i + 1, units}
			units += hs.H * r.chunks()
			long = long || r.chunks() > 1
			rows = append(rows, r)
		}
	}
	parts := make([]partial, units)
	out := d.shared.take(1, units*hs.Dh) // [units, Dh], of rows of more than one chunk
	share, nk := hs.H/hs.K, hs.K*hs.Dh
	scale := float32(1 / math.Sqrt(float64(hs.Dh)))
	d.pool.run(units, 1, func(worker, lo, hi int) {
		z, i := d.workers[worker].take(0, attendChunk), 0
		for u := lo; u < hi; u++ {
			for i+1 < len(rows) && rows[i+1].first <= u {
				i++
			}
			r := &rows[i]
			chunks := r.chunks()
			// Heads of one KV head follow on one another for each of the chunks.
			k, c, of := (u-r.first)/share/chunks, (u-r.first)/share%chunks, (u-r.first)%share
			h, t0 := k*share+of, c*attendChunk
			at := (r.base+t0)*nk + k*hs.Dh
			z := z[:min(attendChunk, r.T-t0)]
			d.set.Scores(z, qb.row(r.row)[h*hs.Dh:(h+1)*hs.Dh], kb.data[at:], nk)
			p := &parts[u]
			p.top = scale * d.set.Max(z)
			d.set.Exps(z, z, scale, p.top)
			p.sum = d.set.Sum(z)
			y := out[u*hs.Dh : (u+1)*hs.Dh]
			if chunks == 1 {
				y = ab.row(r.row)[h*hs.Dh : (h+1)*hs.Dh]
			}
			d.set.Mix(y, z, vb.data[at:], nk)
			if chunks == 1 {
				f := 1 / p.sum
				for j := range y {
					y[j] *= f
				}
			}
		}
	})
	if !long {
		return
	}
	d.pool.run(len(rows)*hs.H, 1, func(_, lo, hi int) {
		for j := lo; j < hi; j++ {
			r, h := &rows[j/hs.H], j%hs.H
			chunks := r.chunks()
			if chunks == 1 {
				continue
			}
			unit := func(c int) int { return r.first + (h/share*chunks+c)*share + h%share }
			top, sum := parts[unit(0)].top, float32(0)
			for c := range chunks {
				top = max(top, parts[unit(c)].top)
			}
			y := ab.row(r.row)[h*hs.Dh : (h+1)*hs.Dh]
			clear(y)
			for c := range chunks {
				p, f := &parts[unit(c)], kernel.Exp32(parts[unit(c)].top-top)
				sum += f * p.sum
				kernel.Axpy(y, f, out[unit(c)*hs.Dh:(unit(c)+1)*hs.Dh])
			}
			f := 1 / sum
			for i := range y {
				y[i] *= f
			}
		}
	})
}
