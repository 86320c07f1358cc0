//go:build cuda || cudaemu

package cuda

import (
	"fmt"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

const panelThreads = 128

// Sizes of an adapter's small products.
const (
	rankSide   = 64  // of their tiles
	rankPart   = 256 // columns that one block adds up
	rankShared = 2 * 2 * rankSide * rankSide * 2
)

// Parameter: see device.Trainer. A vector is one row.
func (d *Device) Parameter(b device.Buffer, vector bool) device.Weight {
	x := b.(*buffer)
	if x.size != 4 || vector && x.rows != 1 {
		d.fail(fmt.Errorf("parameter: want a float32 matrix, or one row as a vector, got [%d %d] of %d bytes, vector %v", x.rows, x.cols, x.size, vector))
	}
	if vector {
		return &weight{buffer: x, shape: []int{x.cols}, view: true}
	}
	return &weight{buffer: x, shape: []int{x.rows, x.cols}, view: true}
}

// low is an adapter's part of a large product: u [n, rank], and B along or A across
// its rank; scaled and dropped as project_back does.
type low struct {
	u, m rows16
	rank int
	mask mask
}

// adapter checks an adapter of a matrix [out, in].
func (d *Device) adapter(op string, ad *device.Adapter, out, in int, back bool) (a, b, da, db *buffer) {
	rank := ad.A.Rows()
	a, b = d.of(op, "A", ad.A, rank, in), d.of(op, "B", ad.B, out, rank)
	if back {
		da, db = d.of(op, "A'", ad.DA, rank, in), d.of(op, "B'", ad.DB, out, rank)
	}
	if d.err == nil && (rank < 1 || b.rows != out) {
		d.fail(fmt.Errorf("%s: want an adapter of rank 1 or more, B [%d %d], got B [%d %d]", op, out, rank, b.rows, b.cols))
	}
	return a, b, da, db
}

// matrix is w as a matrix, or a failure.
func (d *Device) matrix(op string, w device.Weight) *weight {
	m := w.(*weight)
	if len(m.shape) != 2 || m.int8 {
		d.fail(fmt.Errorf("%s: want a matrix of 16 bits or of a parameter, got shape %v, 8 bits: %v", op, m.shape, m.int8))
	}
	return m
}

// LinearForward: see device.Trainer.
func (d *Device) LinearForward(y, u, x device.Buffer, n int, w device.Weight, ad *device.Adapter, add bool) {
	const op = "project"
	m := d.matrix(op, w)
	yb, xb := d.of(op, "y", y, n, m.rows), d.of(op, "x", x, n, m.cols)
	if d.err != nil {
		return
	}
	if ad == nil {
		d.times(yb.wide(0, n), d.beside(m, xb.wide(0, n)), m, low{}, add)
		return
	}
	a, b, _, _ := d.adapter(op, ad, m.rows, m.cols, false)
	rank := ad.A.Rows()
	ub := d.of(op, "u", u, n, rank)
	drop := d.mask(op, ad.Drop, n)
	if d.err != nil {
		return
	}
	var in factor
	if m.trained() {
		in = d.beside(m, xb.wide(0, n))
	} else {
		ld := rowPitch(m.cols)
		in = factor{rows16{d.scratchMemory(scratchProductX, 2*n*ld, false), ld}, m.cols}
	}
	half := in.rows16
	if m.trained() {
		half = rows16{}
	}
	part, parts := d.rank("lora_down_"+suffix(m.productType()), xb.wide(0, n), a, rank, half, drop)
	l := d.join(ub.wide(0, n), part, parts, drop.keep, ad.Scale, b.wide(0, m.rows))
	d.times(yb.wide(0, n), in, m, l, add)
}

// times is y (+)= W x, and an adapter's part.
func (d *Device) times(y wide, x factor, w *weight, l low, add bool) {
	m, s := d.along(w), productPanel(y.n, w.rows, d.limits)
	d.launch("linear_train_"+s.name+"_"+suffix(w.productType()), s.grid(y.n, w.rows), panelThreads, s.shared(),
		y.p, y.pitch, x.p, x.pitch, m.p, m.pitch, y.n, w.rows, x.k, l.u.p, l.m.p, l.u.pitch, l.rank, flag(add))
}

// rank makes the parts of an adapter's product of x, and x rounded to half where
// there is room.
func (d *Device) rank(kernel string, x wide, a *buffer, rank int, half rows16, drop mask) (part pointer, parts int) {
	parts = ceilDiv(x.cols, rankPart)
	part = d.scratchMemory(scratchAdapterPartials, 4*parts*x.n*rank, false)
	d.launch(kernel, [3]int{parts, ceilDiv(x.n, rankSide), ceilDiv(rank, rankSide)}, panelThreads, rankShared,
		part, x.p, x.pitch, x.n, x.cols, a.p, a.pitch, rank, half.p, half.pitch, drop.places, drop.keys, drop.key, drop.limit)
	return part, parts
}

// join adds the parts to u = f sum, and rounds g u and the matrix m for a large
// product.
func (d *Device) join(u wide, part pointer, parts int, f, g float32, m wide) low {
	ld, ldm := rowPitch(u.cols), rowPitch(m.cols)
	l := low{u: rows16{d.scratchMemory(scratchAdapterU, 2*u.n*ld, false), ld}, m: rows16{d.scratchMemory(scratchAdapterMatrix, 2*m.n*ldm, false), ldm}, rank: u.cols}
	blocks := ceilDiv(u.n*ld, 256)
	d.launch("lora_reduce", [3]int{blocks + ceilDiv(m.n*ldm/4, 256), 1, 1}, 256, 0,
		u.p, u.pitch, l.u.p, ld, part, parts, u.n, u.cols, f, g, l.m.p, ldm, m.p, m.pitch, m.n, m.cols, blocks)
	return l
}

// LinearBackward: see device.Trainer.
func (d *Device) LinearBackward(dx, dw, dy, x, u device.Buffer, n int, w device.Weight, ad *device.Adapter) {
	const op = "project's gradient"
	m := d.matrix(op, w)
	out, in := m.rows, m.cols
	dyb := d.of(op, "y'", dy, n, out)
	var dxb, dwb, xb, ub, a, b, da, db *buffer
	if dx != nil {
		dxb = d.of(op, "x'", dx, n, in)
	}
	if dw != nil {
		dwb = d.of(op, "w'", dw, out, in)
	}
	if dw != nil || ad != nil {
		xb = d.of(op, "x", x, n, in)
	}
	drop, rank := mask{}, 0
	if ad != nil {
		rank = ad.A.Rows()
		a, b, da, db = d.adapter(op, ad, out, in, true)
		ub = d.of(op, "u", u, n, rank)
		drop = d.mask(op, ad.Drop, n)
	}
	if d.err != nil || n == 0 {
		return
	}
	grad := dyb.wide(0, n)
	if dw != nil {
		d.weightBack(dwb, grad, xb.wide(0, n))
	}
	rounded, scale := rows16{}, pointer(0)
	var beside factor
	if dx != nil {
		ld := rowPitch(out)
		switch {
		case m.trained():
			beside = d.thirdsAlong(scratchProductX, grad, false)
		case m.dtype == checkpoint.F16:
			beside, scale = d.scaled(grad)
		case ad != nil:
			beside = factor{rows16{d.scratchMemory(scratchProductX, 2*n*ld, false), ld}, out}
			rounded = beside.rows16
		default:
			beside = d.beside(m, grad)
		}
	}
	var l low
	if ad != nil {
		part, parts := d.rank("lora_up_bf16", grad, b, rank, rounded, mask{})
		ld := roundUp(rank, 32)
		du := wide{d.scratchMemory(scratchAdapterDU, 4*n*ld, false), ld, n, rank}
		var round wide
		if dx != nil {
			round = a.wide(0, rank)
		}
		l = d.join(du, part, parts, ad.Scale, 1, round)
		l.mask = drop
		d.launch("lora_grad", [3]int{ceilDiv(out, rankSide) + ceilDiv(in, rankSide), ceilDiv(rank, rankSide), 1}, panelThreads, rankShared,
			db.p, db.pitch, dyb.p, dyb.pitch, out, ub.p, ub.pitch, ad.Scale,
			da.p, da.pitch, xb.p, xb.pitch, in, du.p, du.pitch, drop.keep, n, rank, drop.places, drop.keys, drop.key, drop.limit)
	}
	if dx != nil {
		d.timesBack(dxb.wide(0, n), beside, scale, m, l, true)
	}
}

// scaled is a gradient in float16, its rows scaled, and their scales.
func (d *Device) scaled(dy wide) (factor, pointer) {
	ld := rowPitch(dy.cols)
	p, scale := d.scratchMemory(scratchProductX, 2*dy.n*ld, false), d.scratchMemory(scratchProductScale, 8*dy.n, false)
	d.launch("scale_to_f16", [3]int{dy.n, 1, 1}, 256, 64, p, ld, scale, dy.p, dy.pitch, dy.cols)
	return factor{rows16{p, ld}, dy.cols}, scale
}

// timesBack is x' (+)= Wᵀ y', and an adapter's part.
func (d *Device) timesBack(dx wide, dy factor, scale pointer, w *weight, l low, add bool) {
	m, s := d.across(w), productPanel(dx.n, w.cols, d.limits)
	d.launch("linear_train_dx_"+s.name+"_"+suffix(w.productType()), s.grid(dx.n, w.cols), panelThreads, s.shared(),
		dx.p, dx.pitch, dy.p, dy.pitch, m.p, m.pitch, dx.n, dy.k, w.cols, scale,
		l.u.p, l.u.pitch, l.m.p, l.m.pitch, l.rank, l.mask.places, l.mask.keys, l.mask.key, l.mask.limit, l.mask.keep, flag(add))
}

// weightBack adds y'ᵀ x, to 16 bits of float32, whatever type the weight has.
func (d *Device) weightBack(dw *buffer, dy, x wide) {
	g, in := d.thirdsAcross(scratchProductY, dy, dy.n, false), d.thirdsAcross(scratchProductW, x, x.n, true)
	s := productPanel(dy.cols, x.cols, d.limits)
	d.launch("linear_train_dw_"+s.name, s.grid(dy.cols, x.cols), panelThreads, s.shared(),
		dw.p, dw.pitch, g.p, g.pitch, in.p, in.pitch, g.k, dy.cols, x.cols)
}
