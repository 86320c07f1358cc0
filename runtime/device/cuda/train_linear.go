//go:build cuda || cudaemu

package cuda

import (
	"fmt"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

const trainTileThreads = 128

// Sizes of an adapter's small products.
const (
	adapterTileSide    = 64  // of their tiles
	adapterPartColumns = 256 // columns that one block adds up
	adapterShared      = 2 * 2 * adapterTileSide * adapterTileSide * 2
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

// adapterTerm is an adapter's part of a large product: u [n, rank], and B along or A across
// its rank; scaled and dropped as project_back does.
type adapterTerm struct {
	u, matrix rows16
	rank      int
	dropout   dropoutMask
}

// checkAdapter checks an adapter of a matrix [out, in].
func (d *Device) checkAdapter(op string, ad *device.Adapter, out, in int, back bool) (a, b, da, db *buffer) {
	rank := ad.A.Rows()
	a, b = d.float32Buffer(op, "A", ad.A, rank, in), d.float32Buffer(op, "B", ad.B, out, rank)
	if back {
		da, db = d.float32Buffer(op, "A'", ad.DA, rank, in), d.float32Buffer(op, "B'", ad.DB, out, rank)
	}
	if d.err == nil && (rank < 1 || b.rows != out) {
		d.fail(fmt.Errorf("%s: want an adapter of rank 1 or more, B [%d %d], got B [%d %d]", op, out, rank, b.rows, b.cols))
	}
	return a, b, da, db
}

// matrixWeight is w as a matrix, or a failure.
func (d *Device) matrixWeight(op string, w device.Weight) *weight {
	m := w.(*weight)
	if len(m.shape) != 2 || m.int8 {
		d.fail(fmt.Errorf("%s: want a matrix of 16 bits or of a parameter, got shape %v, 8 bits: %v", op, m.shape, m.int8))
	}
	return m
}

// LinearForward: see device.Trainer.
func (d *Device) LinearForward(y, u, x device.Buffer, n int, w device.Weight, ad *device.Adapter, add bool) {
	const op = "linear forward"
	m := d.matrixWeight(op, w)
	yb, xb := d.float32Buffer(op, "y", y, n, m.rows), d.operandBuffer(op, "x", x, n, m.cols, m)
	if d.err != nil {
		return
	}
	if ad == nil {
		d.multiply(yb.matrixRows(0, n), d.operandOf(m, xb, n), m, adapterTerm{}, add)
		return
	}
	a, b, _, _ := d.checkAdapter(op, ad, m.rows, m.cols, false)
	rank := ad.A.Rows()
	ub := d.float32Buffer(op, "u", u, n, rank)
	if d.err != nil {
		return
	}
	drop := d.dropoutMask(op, ad.Drop, n, ub.rows, a)
	if d.err != nil {
		return
	}
	var in halfOperand
	var half rows16 // what float32 x is rounded to on the way
	if m.isParameter() || xb.isHalf() {
		in = d.operandOf(m, xb, n)
	} else {
		ld := rowPitch(m.cols)
		in = halfOperand{rows16{d.scratchMemory(scratchProductX, 2*n*ld, false), ld}, m.cols}
		half = in.rows16
	}
	part, parts := d.adapterPartials("lora_down_"+xb.halfPrefix()+suffix(m.operandType()), xb.matrixRows(0, n), xb.size, a, rank, half, drop)
	l := d.reduceAdapter(ub.matrixRows(0, n), part, parts, drop.keep, ad.Scale, b.matrixRows(0, m.rows))
	d.multiply(yb.matrixRows(0, n), in, m, l, add)
}

// launchSpread queues a product of training; see spreadShared.
func (d *Device) launchSpread(kernel string, grid [3]int, shared int, args ...any) {
	d.launch(kernel, grid, trainTileThreads, spreadShared(grid, shared, d.limits), args...)
}

// multiply is y (+)= W x, and an adapter's part.
func (d *Device) multiply(y matrixRows, x halfOperand, w *weight, l adapterTerm, add bool) {
	m := d.weightOperand(w)
	if d.trainsWithTMA() {
		t := d.wgmmaTile(y.n, w.rows)
		d.launchTrainTMA("linear_train_", suffix(w.operandType()), t, y.n, w.rows, x, []driver.TensorMap{
			d.tensorMap(m.p, m.k, w.rows, 1, m.pitch, w.rows*m.pitch, t.weightRows()),
			d.tensorMap(l.matrix.p, l.rank, adapterRows(w.rows, l), 1, l.matrix.pitch, w.rows*l.matrix.pitch, t.weightRows()),
		}, l, asInt(add), y.p, y.pitch, w.rows, x.k)
		return
	}
	s := chooseTrainTile(y.n, w.rows, d.limits)
	d.expect(productWork(y.n, x.k, w.rows, s.rows, s.cols, 2, float64(4*(1+asInt(add))*y.n*w.rows)))
	d.launchSpread("linear_train_"+s.name+"_"+suffix(w.operandType()), s.grid(y.n, w.rows), s.shared(),
		y.p, y.pitch, x.p, x.pitch, m.p, m.pitch, y.n, w.rows, x.k, l.u.p, l.matrix.p, l.u.pitch, l.rank, asInt(add))
}

// trainsWithTMA reports whether training multiplies by wgmma
// (kernels/cuda/linear_train_wgmma.cu).
func (d *Device) trainsWithTMA() bool { return d.info.Set == driver.SM90a }

// adapterRows is the rows of an adapter's matrix as a tensor: none without an adapter.
func adapterRows(rows int, l adapterTerm) int {
	if l.rank == 0 {
		return 0
	}
	return rows
}

// launchTrainTMA queues a training product of the rows of x and out rows or columns of W: maps
// are those of W and of the adapter's matrix.
func (d *Device) launchTrainTMA(op, dtype string, t gemmTile, n, out int, x halfOperand, maps []driver.TensorMap, l adapterTerm, add int, y pointer, pitch, rows, cols int, dropout ...any) {
	if n == 0 || out == 0 {
		return
	}
	box := t.rows / t.along()
	args := []any{maps[0], maps[1], d.tensorMap(x.p, x.k, n, 1, x.pitch, n*x.pitch, box),
		d.tensorMap(l.u.p, l.rank, adapterRows(n, l), 1, l.u.pitch, n*l.u.pitch, box), y, pitch, rows, cols, l.rank, n, add}
	d.expect(productWork(n, x.k, out, t.rows*t.across(), t.cols*t.along(), 2, float64(4*(1+add)*n*out)))
	d.launchCall(driver.Call{Kernel: op + t.name + "_" + dtype, Grid: t.persistentGrid(n, out, d.limits), Threads: t.threads, Shared: t.sharedBytes(), Cluster: t.cluster}, append(args, dropout...)...)
}

// adapterPartials makes the parts of an adapter's product of x, of numbers of size bytes, and x
// rounded to half where there is room.
func (d *Device) adapterPartials(kernel string, x matrixRows, size int, a *buffer, rank int, half rows16, drop dropoutMask) (part pointer, parts int) {
	parts = ceilDiv(x.cols, adapterPartColumns)
	part = d.scratchMemory(scratchAdapterPartials, 4*parts*x.n*rank, false)
	d.expect(work{2 * float64(x.n) * float64(x.cols) * float64(rank), float64(size*x.n*x.cols + 4*rank*x.cols + 4*parts*x.n*rank), 0})
	d.launchSpread(kernel, [3]int{parts, ceilDiv(x.n, adapterTileSide), ceilDiv(rank, adapterTileSide)}, adapterShared,
		part, x.p, x.pitch, x.n, x.cols, a.p, a.pitch, rank, half.p, half.pitch, drop.bits, drop.ld)
	return part, parts
}

// reduceAdapter adds the parts to u = f sum, and rounds g u and the matrix m for a large
// product.
func (d *Device) reduceAdapter(u matrixRows, part pointer, parts int, f, g float32, m matrixRows) adapterTerm {
	ld, ldm := rowPitch(u.cols), rowPitch(m.cols)
	l := adapterTerm{u: rows16{d.scratchMemory(scratchAdapterU, 2*u.n*ld, false), ld}, matrix: rows16{d.scratchMemory(scratchAdapterMatrix, 2*m.n*ldm, false), ldm}, rank: u.cols}
	blocks := ceilDiv(u.n*ld, 256)
	d.expect(rowWork(parts+2, u.n, u.cols))
	d.launch("lora_reduce", [3]int{blocks + ceilDiv(m.n*ldm/4, 256), 1, 1}, 256, 0,
		u.p, u.pitch, l.u.p, ld, part, parts, u.n, u.cols, f, g, l.matrix.p, ldm, m.p, m.pitch, m.n, m.cols, blocks)
	return l
}

// LinearBackward: see device.Trainer.
func (d *Device) LinearBackward(dx, dw, dy, x, u device.Buffer, n int, w device.Weight, ad *device.Adapter, add bool) {
	const op = "linear backward"
	m := d.matrixWeight(op, w)
	out, in := m.rows, m.cols
	dyb := d.operandBuffer(op, "y'", dy, n, out, m)
	var dxb, dwb, xb, ub, a, b, da, db *buffer
	if dx != nil {
		dxb = d.float32Buffer(op, "x'", dx, n, in)
	}
	if dw != nil {
		dwb = d.float32Buffer(op, "w'", dw, out, in)
	}
	if dw != nil || ad != nil {
		xb = d.operandBuffer(op, "x", x, n, in, m)
	}
	drop, rank := dropoutMask{}, 0
	if ad != nil {
		rank = ad.A.Rows()
		a, b, da, db = d.checkAdapter(op, ad, out, in, true)
		ub = d.float32Buffer(op, "u", u, n, rank)
		if d.err == nil {
			drop = d.dropoutMask(op, ad.Drop, n, ub.rows, a)
		}
	}
	if d.err == nil && dw != nil && (dyb.isHalf() || xb.isHalf()) {
		d.fail(fmt.Errorf("%s: w': want y' and x of float32, got 16 bits", op))
	}
	if d.err == nil && dyb.isHalf() && (m.dtype == checkpoint.F16 || ad != nil && !xb.isHalf()) {
		d.fail(fmt.Errorf("%s: y': want float32 beside %v and x of %d bytes, got 16 bits", op, m, xb.size))
	}
	if d.err != nil || n == 0 {
		return
	}
	grad := dyb.matrixRows(0, n)
	if dw != nil {
		d.addWeightGradient(dwb, grad, xb.matrixRows(0, n))
	}
	rounded, scale := rows16{}, pointer(0)
	var beside halfOperand
	if dx != nil {
		ld := rowPitch(out)
		switch {
		case dyb.isHalf():
			beside = d.operandOf(m, dyb, n)
		case m.isParameter():
			beside = d.splitByColumns(scratchProductX, grad, false)
		case m.dtype == checkpoint.F16:
			beside, scale = d.scaleToF16(grad)
		case ad != nil:
			beside = halfOperand{rows16{d.scratchMemory(scratchProductX, 2*n*ld, false), ld}, out}
			rounded = beside.rows16
		default:
			beside = d.activationOperand(m, grad)
		}
	}
	var l adapterTerm
	if ad != nil {
		part, parts := d.adapterPartials("lora_up_"+dyb.halfPrefix()+"bf16", grad, dyb.size, b, rank, rounded, dropoutMask{})
		ld := roundUp(rank, 32)
		du := matrixRows{d.scratchMemory(scratchAdapterDU, 4*n*ld, false), ld, n, rank}
		var round matrixRows
		if dx != nil {
			round = a.matrixRows(0, rank)
		}
		l = d.reduceAdapter(du, part, parts, ad.Scale, 1, round)
		l.dropout = drop
		kernel := "lora_grad"
		if dyb.isHalf() || xb.isHalf() {
			kernel += "_" + dyb.operandSuffix() + "_" + xb.operandSuffix()
		}
		d.expect(work{2 * float64(n) * float64(out+in) * float64(rank), float64(n*(dyb.size*out+xb.size*in) + 8*rank*(out+in)), 0})
		d.launchSpread(kernel, [3]int{ceilDiv(out, adapterTileSide) + ceilDiv(in, adapterTileSide), ceilDiv(rank, adapterTileSide), 1}, adapterShared,
			db.p, db.pitch, dyb.p, dyb.pitch, out, ub.p, ub.pitch, ad.Scale,
			da.p, da.pitch, xb.p, xb.pitch, in, du.p, du.pitch, drop.keep, n, rank, drop.bits, drop.ld)
	}
	if dx != nil {
		d.multiplyTransposed(dxb.matrixRows(0, n), beside, scale, m, l, add)
	}
}

// scaleToF16 is a gradient in float16, its rows scaled, and their scales.
func (d *Device) scaleToF16(dy matrixRows) (halfOperand, pointer) {
	ld := rowPitch(dy.cols)
	p, scale := d.scratchMemory(scratchProductX, 2*dy.n*ld, false), d.scratchMemory(scratchProductScale, 8*dy.n, false)
	d.expect(work{bytes: float64(6 * dy.n * dy.cols)})
	d.launch("scale_to_f16", [3]int{dy.n, 1, 1}, 256, 64, p, ld, scale, dy.p, dy.pitch, dy.cols)
	return halfOperand{rows16{p, ld}, dy.cols}, scale
}

// multiplyTransposed is x' (+)= Wᵀ y', and an adapter's part. scale: of the rows of y' in
// float16, or 0.
func (d *Device) multiplyTransposed(dx matrixRows, dy halfOperand, scale pointer, w *weight, l adapterTerm, add bool) {
	m := d.transposedWeightOperand(w)
	if d.trainsWithTMA() {
		t := d.wgmmaTile(dx.n, w.cols)
		d.launchTrainTMA("linear_train_dx_", suffix(w.operandType()), t, dx.n, w.cols, dy, []driver.TensorMap{
			d.tensorMap(m.p, w.cols, m.k, 1, m.pitch, m.k*m.pitch, t.weightRows()),
			d.tensorMap(l.matrix.p, w.cols, adapterRows(l.rank, l), 1, l.matrix.pitch, l.rank*l.matrix.pitch, t.weightRows()),
		}, l, asInt(add), dx.p, dx.pitch, dy.k, w.cols, l.dropout.bits, l.dropout.ld, l.dropout.keep, scale)
		return
	}
	s := chooseTrainTile(dx.n, w.cols, d.limits)
	d.expect(productWork(dx.n, dy.k, w.cols, s.rows, s.cols, 2, float64(4*(1+asInt(add))*dx.n*w.cols)))
	d.launchSpread("linear_train_dx_"+s.name+"_"+suffix(w.operandType()), s.grid(dx.n, w.cols), s.shared(),
		dx.p, dx.pitch, dy.p, dy.pitch, m.p, m.pitch, dx.n, dy.k, w.cols, scale,
		l.u.p, l.u.pitch, l.matrix.p, l.matrix.pitch, l.rank, l.dropout.bits, l.dropout.ld, l.dropout.keep, asInt(add))
}

// addWeightGradient adds y'ᵀ x, to 16 bits of float32, whatever type the weight has.
func (d *Device) addWeightGradient(dw *buffer, dy, x matrixRows) {
	g, in := d.splitByRows(scratchProductY, dy, dy.n, false), d.splitByRows(scratchProductW, x, x.n, true)
	s := chooseTrainTile(dy.cols, x.cols, d.limits)
	d.expect(productWork(dy.cols, g.k, x.cols, s.rows, s.cols, 2, float64(8*dy.cols*x.cols)))
	d.launchSpread("linear_train_dw_"+s.name, s.grid(dy.cols, x.cols), s.shared(),
		dw.p, dw.pitch, g.p, g.pitch, in.p, in.pitch, g.k, dy.cols, x.cols)
}
