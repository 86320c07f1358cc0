package cpu

import (
	"math"

	"mop/runtime/device"
	"mop/runtime/random"
)

// LinearForward: see device.Trainer.
func (d *Device) LinearForward(y, u, x device.Buffer, n int, w device.Weight, ad *device.Adapter, add bool) {
	m := asWeight(w)
	out, in := m.rowsCols()
	xb, yb := data(x), data(y)
	d.product(yb.data, out, n, out, in, rowMajor(xb.data, in), m.view().transposed(), add)
	if ad == nil {
		return
	}
	rank := ad.A.Rows()
	d.product(data(u).data, rank, n, rank, in, rowMajor(d.dropout(xb.data, n, in, ad.Drop), in), rowMajor(data(ad.A).data, in).transposed(), false)
	d.product(yb.data, out, n, out, rank, rowMajor(data(u).data, rank).scaled(ad.Scale), rowMajor(data(ad.B).data, rank).transposed(), true)
}

// LinearBackward: see device.Trainer.
func (d *Device) LinearBackward(dx, dw, dy, x, u device.Buffer, n int, w device.Weight, ad *device.Adapter, add bool) {
	m := asWeight(w)
	out, in := m.rowsCols()
	dyb := data(dy)
	if dw != nil {
		d.product(data(dw).data, in, out, in, n, rowMajor(dyb.data, out).transposed(), rowMajor(data(x).data, in), true)
	}
	if dx != nil {
		d.product(data(dx).data, in, n, in, out, rowMajor(dyb.data, out), m.view(), add)
	}
	if ad == nil {
		return
	}
	rank := ad.A.Rows()
	d.product(data(ad.DB).data, rank, out, rank, n, rowMajor(dyb.data, out).transposed(), rowMajor(data(u).data, rank).scaled(ad.Scale), true)
	du := resizeScratch(&d.train.inner, n*rank)
	d.product(du, rank, n, rank, out, rowMajor(dyb.data, out).scaled(ad.Scale), rowMajor(data(ad.B).data, rank), false)
	d.product(data(ad.DA).data, in, rank, in, n, rowMajor(du, rank).transposed(), rowMajor(d.dropout(data(x).data, n, in, ad.Drop), in), true)
	if dx == nil {
		return
	}
	if ad.Drop.Probability == 0 {
		d.product(data(dx).data, in, n, in, rank, rowMajor(du, rank), rowMajor(data(ad.A).data, in), true)
		return
	}
	g := resizeScratch(&d.train.dropped, n*in)
	d.product(g, in, n, in, rank, rowMajor(du, rank), rowMajor(data(ad.A).data, in), false)
	d.applyDropout(data(dx).data, g, in, ad.Drop, true)
}

// dropout is the first n rows of x after dropout, x itself where there is none.
func (d *Device) dropout(x []float32, n, in int, o device.Dropout) []float32 {
	if o.Probability == 0 {
		return x
	}
	y := resizeScratch(&d.train.dropped, n*in)
	d.applyDropout(y, x, in, o, false)
	return y
}

// applyDropout sets y to x after dropout, or adds it.   y, x [n, in]
func (d *Device) applyDropout(y, x []float32, in int, o device.Dropout, add bool) {
	limit, scale := uint32(o.Probability*(1<<32)), float32(1/(1-o.Probability))
	for s, span := range o.Spans {
		key := o.Keys[s]
		d.pool.run(span.Len, 1, func(_, lo, hi int) {
			for r := lo; r < hi; r++ {
				at := (span.Row + r) * in
				to, from := y[at:at+in], x[at:at+in]
				e := uint64(r * in)
				if e&1 == 1 { // the second half of a word that the row before began
					to[0] = dropElement(from[0]*scale, uint32(random.Word(key, e>>1)>>32), limit, to[0], add)
					to, from, e = to[1:], from[1:], e+1
				}
				for ; len(to) >= 2; to, from, e = to[2:], from[2:], e+2 {
					word := random.Word(key, e>>1)
					to[0] = dropElement(from[0]*scale, uint32(word), limit, to[0], add)
					to[1] = dropElement(from[1]*scale, uint32(word>>32), limit, to[1], add)
				}
				if len(to) == 1 {
					to[0] = dropElement(from[0]*scale, uint32(random.Word(key, e>>1)), limit, to[0], add)
				}
			}
		})
	}
}

// dropElement is v where its draw is not below the limit, else 0; or what is added to.
func dropElement(v float32, draw, limit uint32, to float32, add bool) float32 {
	below := uint32((uint64(draw) - uint64(limit)) >> 32) // all ones, or zero
	v = math.Float32frombits(math.Float32bits(v) &^ below)
	if add {
		v += to
	}
	return v
}
