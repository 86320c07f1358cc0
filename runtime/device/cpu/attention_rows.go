package cpu

import (
	"math"
	"slices"

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

// attending is an operation of attendRows.
type attending struct {
	a, q, k, v *buffer
	hs         device.Heads
	rows       []attendRow
	parts      []partial // [units]
	out        []float32 // [units, Dh], of rows of more than one chunk
}

// attendRows is Attend for a head and a chunk of a row's positions at a time. Where there
// is more than one chunk, what they gave is then added, weighted, in their order.
func (d *Device) attendRows(ab, qb, kb, vb *buffer, capacity int, hs device.Heads, spans []device.Span) {
	o := &d.attends
	o.a, o.q, o.k, o.v, o.hs, o.rows = ab, qb, kb, vb, hs, o.rows[:0]
	units, bytes, long := 0, int64(0), false
	for _, s := range spans {
		for i := range s.Len {
			r := attendRow{s.Row + i, s.Seq * capacity, s.Start + i + 1, units}
			units += hs.H * r.chunks()
			bytes += int64(r.T) * int64(hs.H*hs.Dh*8)
			long = long || r.chunks() > 1
			o.rows = append(o.rows, r)
		}
	}
	o.parts = slices.Grow(o.parts[:0], units)[:units]
	o.out = d.shared.take(1, units*hs.Dh)
	d.spread(units, bytes, d.parts.attend)
	if long {
		d.pool.run(len(o.rows)*hs.H, 1, d.parts.join)
	}
}

// attendPart does some units of d.attends.
func (d *Device) attendPart(worker, lo, hi int) {
	o := &d.attends
	hs, rows := o.hs, o.rows
	share, nk := hs.H/hs.K, hs.K*hs.Dh
	scale := float32(1 / math.Sqrt(float64(hs.Dh)))
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
		d.set.Scores(z, o.q.row(r.row)[h*hs.Dh:(h+1)*hs.Dh], o.k.data[at:], nk)
		p := &o.parts[u]
		p.top = scale * d.set.Max(z)
		d.set.Exps(z, z, scale, p.top)
		p.sum = d.set.Sum(z)
		y := o.out[u*hs.Dh : (u+1)*hs.Dh]
		if chunks == 1 {
			y = o.a.row(r.row)[h*hs.Dh : (h+1)*hs.Dh]
		}
		d.set.Mix(y, z, o.v.data[at:], nk)
		if chunks == 1 {
			f := 1 / p.sum
			for j := range y {
				y[j] *= f
			}
		}
	}
}

// joinPart adds what chunks gave, for some heads of the rows of d.attends.
func (d *Device) joinPart(_, lo, hi int) {
	o := &d.attends
	hs := o.hs
	share := hs.H / hs.K
	for j := lo; j < hi; j++ {
		r, h := &o.rows[j/hs.H], j%hs.H
		chunks := r.chunks()
		if chunks == 1 {
			continue
		}
		unit := func(c int) int { return r.first + (h/share*chunks+c)*share + h%share }
		top, sum := o.parts[unit(0)].top, float32(0)
		for c := range chunks {
			top = max(top, o.parts[unit(c)].top)
		}
		y := o.a.row(r.row)[h*hs.Dh : (h+1)*hs.Dh]
		clear(y)
		for c := range chunks {
			u := unit(c)
			f := kernel.Exp32(o.parts[u].top - top)
			sum += f * o.parts[u].sum
			kernel.Axpy(y, f, o.out[u*hs.Dh:(u+1)*hs.Dh])
		}
		f := 1 / sum
		for i := range y {
			y[i] *= f
		}
	}
}
