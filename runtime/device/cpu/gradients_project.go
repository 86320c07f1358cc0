package cpu

import (
	"math"

	"mop/runtime/device"
	"mop/runtime/random"
)

// LinearForward: see device.Trainer.
func (d *Device) LinearForward(y, u, x device.Buffer, n int, w device.Weight, ad *device.Adapter, add bool) {
	m := stored(w)
	out, in := m.rowsCols()
	xb, yb := data(x), data(y)
	d.product(yb.data, out, n, out, in, rows(xb.data, in), m.operand().t(), add)
	if ad == nil {
		return
	}
	rank := ad.A.Rows()
	d.product(data(u).data, rank, n, rank, in, rows(d.drop(xb.data, n, in, ad.Drop), in), rows(data(ad.A).data, in).t(), false)
	d.product(yb.data, out, n, out, rank, rows(data(u).data, rank).times(ad.Scale), rows(data(ad.B).data, rank).t(), true)
}

// LinearBackward: see device.Trainer.
func (d *Device) LinearBackward(dx, dw, dy, x, u device.Buffer, n int, w device.Weight, ad *device.Adapter) {
	m := stored(w)
	out, in := m.rowsCols()
	dyb := data(dy)
	if dw != nil {
		d.product(data(dw).data, in, out, in, n, rows(dyb.data, out).t(), rows(data(x).data, in), true)
	}
	if dx != nil {
		d.product(data(dx).data, in, n, in, out, rows(dyb.data, out), m.operand(), true)
	}
	if ad == nil {
		return
	}
	rank := ad.A.Rows()
	d.product(data(ad.DB).data, rank, out, rank, n, rows(dyb.data, out).t(), rows(data(u).data, rank).times(ad.Scale), true)
	du := grown(&d.train.inner, n*rank)
	d.product(du, rank, n, rank, out, rows(dyb.data, out).times(ad.Scale), rows(data(ad.B).data, rank), false)
	d.product(data(ad.DA).data, in, rank, in, n, rows(du, rank).t(), rows(d.drop(data(x).data, n, in, ad.Drop), in), true)
	if dx == nil {
		return
	}
	if ad.Drop.Probability == 0 {
		d.product(data(dx).data, in, n, in, rank, rows(du, rank), rows(data(ad.A).data, in), true)
		return
	}
	g := grown(&d.train.dropped, n*in)
	d.product(g, in, n, in, rank, rows(du, rank), rows(data(ad.A).data, in), false)
	d.mask(data(dx).data, g, in, ad.Drop, true)
}

// drop is the first n rows of x after dropout, x itself where there is none.
func (d *Device) drop(x []float32, n, in int, o device.Dropout) []float32 {
	if o.Probability == 0 {
		return x
	}
	y := grown(&d.train.dropped, n*in)
	d.mask(y, x, in, o, false)
	return y
}

// mask sets y to x after dropout, or adds it.   y, x [n, in]
func (d *Device) mask(y, x []float32, in int, o device.Dropout, add bool) {
	limit, scale := uint32(o.Probability*(1<<32)), float32(1/(1-o.Probability))
	for s, span := range o.Spans {
		key := o.Keys[s]
		d.pool.run(span.Len, 1, func(_, lo, hi int) {
			for r := lo; r < hi; r++ {
				at := (span.Row + r) * in
				to, from := y[at:at+in], x[at:at+in]
				e := uint64(r * in)
				if e&1 == 1 { // the second half of a word that the row before began
					to[0] = kept(from[0]*scale, uint32(random.Word(key, e>>1)>>32), limit, to[0], add)
					to, from, e = to[1:], from[1:], e+1
				}
				for ; len(to) >= 2; to, from, e = to[2:], from[2:], e+2 {
					word := random.Word(key, e>>1)
					to[0] = kept(from[0]*scale, uint32(word), limit, to[0], add)
					to[1] = kept(from[1]*scale, uint32(word>>32), limit, to[1], add)
				}
				if len(to) == 1 {
					to[0] = kept(from[0]*scale, uint32(random.Word(key, e>>1)), limit, to[0], add)
				}
			}
		})
	}
}

// kept is v where its draw is not below the limit, else 0; or what is added to.
func kept(v float32, draw, limit uint32, to float32, add bool) float32 {
	below := uint32((uint64(draw) - uint64(limit)) >> 32) // all ones, or zero
	v = math.Float32frombits(math.Float32bits(v) &^ below)
	if add {
		v += to
	}
	return v
}
