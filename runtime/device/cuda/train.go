//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"math"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

var _ device.Trainer = (*Device)(nil)

// Training keeps activations and gradients in float32 buffers; kernels round what
// the tensor cores take.

// float32Buffer checks that b is a float32 buffer of at least n rows of cols columns. It
// returns nil after a failure.
func (d *Device) float32Buffer(op, name string, b device.Buffer, n, cols int) *buffer {
	d.addOperand(op, operand{name: name, rows: n, cols: cols})
	s, ok := b.(*buffer)
	if ok && s.freed {
		d.fail(fmt.Errorf("%s: %s: %w", op, name, device.ErrFreed))
		return nil
	}
	if !ok || s.size != 4 || s.rows < n || s.cols != cols {
		got := "no float32 buffer of this device"
		if ok && s.size == 4 {
			got = fmt.Sprintf("[%d %d]", s.rows, s.cols)
		}
		d.fail(fmt.Errorf("%s: %s: want [%d %d], got %s", op, name, n, cols, got))
		return nil
	}
	return s
}

// activationBuffer is float32Buffer for what may have 16 bits instead.
func (d *Device) activationBuffer(op, name string, b device.Buffer, n, cols int) *buffer {
	s, ok := b.(*buffer)
	if !ok || s.freed || s.size != 2 || s.rows < n || s.cols != cols {
		return d.float32Buffer(op, name, b, n, cols)
	}
	d.addOperand(op, operand{name: name, rows: n, cols: cols})
	return s
}

// swigluSuffix names the type of what a kernel of SwiGLU writes.
func (b *buffer) swigluSuffix() string {
	if b.isHalf() {
		return "_half_" + suffix(b.dtype)
	}
	return ""
}

// typeSuffix names the type of a weight in a kernel's name.
func (w *weight) typeSuffix() string {
	if w.size == 4 {
		return "f32"
	}
	return suffix(w.dtype)
}

// oneBlockPerRow is a grid with one block for each row.
func oneBlockPerRow(n int) [3]int { return [3]int{n, 1, 1} }

// Clear: see device.Trainer.
func (d *Device) Clear(b device.Buffer, n int) {
	s := d.float32Buffer("clear", "buffer", b, n, b.Cols())
	if d.err == nil {
		d.trace("clear", [3]int{1, 1, 1}, rowWork(1, n, s.pitch))
		if err := d.clearTimed(s.p, int64(n)*int64(s.pitch)*4); err != nil {
			d.fail(fmt.Errorf("%v: %w", d.currentOperation, err))
		}
	}
}

// Copy: see device.Trainer.
func (d *Device) Copy(dst, src device.Buffer, n int) {
	d.copyRows("copy", dst, src, n, 0, 0, n, n)
}

// Gather: see device.Device.
func (d *Device) Gather(y, x device.Buffer, rows []int) {
	if d.checkIndices("gather", rows, x.Rows()) {
		d.copyRows("gather", y, x, len(rows), 0, uploadScratch(d, scratchRows, toInt32(rows)), len(rows), 0)
	}
}

// Scatter: see device.Trainer. The rows differ.
func (d *Device) Scatter(y, x device.Buffer, rows []int) {
	if !d.checkIndices("scatter", rows, y.Rows()) {
		return
	}
	seen := make([]bool, y.Rows())
	for _, r := range rows {
		if seen[r] {
			d.fail(fmt.Errorf("scatter: want each row once, got %d again", r))
			return
		}
		seen[r] = true
	}
	d.copyRows("scatter", y, x, len(rows), uploadScratch(d, scratchRows, toInt32(rows)), 0, 0, len(rows))
}

// copyRows copies n rows, of lists or of the first ones, of which y and x need so many.
func (d *Device) copyRows(op string, y, x device.Buffer, n int, to, from pointer, needY, needX int) {
	yb, xb := d.float32Buffer(op, "to", y, needY, y.Cols()), d.float32Buffer(op, "from", x, needX, y.Cols())
	if d.err == nil {
		d.expect(rowWork(2, n, yb.cols))
		d.launch("copy_rows", oneBlockPerRow(n), 256, 0, yb.p, yb.pitch, to, xb.p, xb.pitch, from, yb.cols)
	}
}

// checkIndices refuses indices that are not below limit.
func (d *Device) checkIndices(op string, list []int, limit int) bool {
	for _, r := range list {
		if r < 0 || r >= limit {
			d.fail(fmt.Errorf("%s: want an index below %d, got %d", op, limit, r))
		}
	}
	return d.err == nil
}

func toInt32(list []int) []int32 {
	out := make([]int32, len(list))
	for i, v := range list {
		out[i] = int32(v)
	}
	return out
}

// normWeight checks that w is a norm's weight [D], of any type.
func (d *Device) normWeight(op string, w device.Weight, D int) *weight {
	g := w.(*weight)
	if g.rows != 1 || g.cols != D {
		d.fail(fmt.Errorf("%s: want gain [%d], got %v", op, D, g.shape))
	}
	return g
}

// NormForward: see device.Trainer.
func (d *Device) NormForward(y, r, x device.Buffer, n int, w device.Weight, eps float64) {
	D := x.Cols()
	yb, rb, xb, g := d.activationBuffer("norm forward", "y", y, n, D), d.float32Buffer("norm forward", "r", r, n, 1), d.float32Buffer("norm forward", "x", x, n, D), d.normWeight("norm forward", w, D)
	if d.err == nil {
		if yb.isHalf() && (g.size == 4 || g.dtype != yb.dtype) {
			d.fail(fmt.Errorf("norm forward: y: want float32 or the type of the gain, got %v beside %v", yb.dtype, g))
		}
		d.expect(work{bytes: float64((4 + yb.size) * n * D)})
		d.launch("rmsnorm_forward_"+yb.halfPrefix()+g.typeSuffix(), oneBlockPerRow(n), 256, 64, yb.p, yb.pitch, rb.p, rb.pitch, xb.p, xb.pitch, g.p, float32(eps), D)
	}
}

// NormBackward: see device.Trainer.
func (d *Device) NormBackward(dx, dw, dy, x, r device.Buffer, n int, w device.Weight) {
	const op = "norm backward"
	D := x.Cols()
	dxb, dyb, xb, rb, g := d.float32Buffer(op, "x'", dx, n, D), d.float32Buffer(op, "y'", dy, n, D), d.float32Buffer(op, "x", x, n, D), d.float32Buffer(op, "r", r, n, 1), d.normWeight(op, w, D)
	if d.err != nil {
		return
	}
	d.expect(rowWork(4, n, D))
	d.launch("rmsnorm_backward_"+g.typeSuffix(), oneBlockPerRow(n), 256, 64, dxb.p, dxb.pitch, dyb.p, dyb.pitch, xb.p, xb.pitch, rb.p, rb.pitch, g.p, D)
	if dw == nil {
		return
	}
	if dwb := d.float32Buffer(op, "w'", dw, 1, D); d.err == nil {
		d.launch("rmsnorm_backward_gain", [3]int{ceilDiv(D, 128), 1, 1}, 128, 0, dwb.p, dyb.p, dyb.pitch, xb.p, xb.pitch, rb.p, rb.pitch, D, n)
	}
}

// SwiGLU: see device.Trainer.
func (d *Device) SwiGLU(m, g, u device.Buffer, n int) {
	I := m.Cols()
	mb, gb, ub := d.activationBuffer("swiglu", "m", m, n, I), d.float32Buffer("swiglu", "g", g, n, I), d.float32Buffer("swiglu", "u", u, n, I)
	if d.err == nil {
		d.expect(work{bytes: float64((8 + mb.size) * n * I)})
		d.launch("swiglu_forward"+mb.swigluSuffix(), oneBlockPerRow(n), 256, 0, mb.p, mb.pitch, gb.p, gb.pitch, ub.p, ub.pitch, I)
	}
}

// SwiGLUBackward: see device.Trainer.
func (d *Device) SwiGLUBackward(dg, du, dm, g, u device.Buffer, n int) {
	const op = "swiglu backward"
	I := dm.Cols()
	dgb, dub, dmb, gb, ub := d.activationBuffer(op, "g'", dg, n, I), d.activationBuffer(op, "u'", du, n, I), d.float32Buffer(op, "m'", dm, n, I), d.float32Buffer(op, "g", g, n, I), d.float32Buffer(op, "u", u, n, I)
	if d.err == nil && (dgb.size != dub.size || dgb.isHalf() && (dgb.dtype != checkpoint.BF16 || dub.dtype != checkpoint.BF16)) {
		d.fail(fmt.Errorf("%s: want g' and u' both of float32 or of bfloat16, got %d bytes of %v and %d of %v", op, dgb.size, dgb.dtype, dub.size, dub.dtype))
	}
	if d.err == nil {
		d.expect(work{bytes: float64((12 + dgb.size + dub.size) * n * I)})
		d.launch("swiglu_backward"+dgb.swigluSuffix(), oneBlockPerRow(n), 256, 0, dgb.p, dgb.pitch, dub.p, dub.pitch, dmb.p, dmb.pitch, gb.p, gb.pitch, ub.p, ub.pitch, I)
	}
}

// EmbedBackward: see device.Trainer. The rows are grouped by token, so that one block adds
// all rows of a token, in their order.
func (d *Device) EmbedBackward(dtable, dx device.Buffer, tokens []int) {
	D := dx.Cols()
	table, xb := d.float32Buffer("embed backward", "table'", dtable, 0, D), d.float32Buffer("embed backward", "x'", dx, len(tokens), D)
	if d.err != nil || !d.checkIndices("embed backward", tokens, table.rows) || len(tokens) == 0 {
		return
	}
	list, from := groupRowsByToken(tokens)
	d.launch("embedding_backward", oneBlockPerRow(len(from)-1), 256, 0, table.p, table.pitch, xb.p, xb.pitch,
		uploadScratch(d, scratchTokens, toInt32(tokens)), uploadScratch(d, scratchSortedRows, list), uploadScratch(d, scratchRowRanges, from), D)
}

// squaresBlock is how many elements a block of sum_squares takes.
const squaresBlock = 16 * 256 * 4

// SumSquares: see device.Trainer. All sums are queued before it waits for them.
func (d *Device) SumSquares(bs ...device.Buffer) float64 {
	all, total := make([]*buffer, len(bs)), 0
	for i, b := range bs {
		if all[i] = d.float32Buffer("sum of squares", "buffer", b, 0, b.Cols()); d.err != nil {
			return 0
		}
		total += all[i].squaresBlocks()
	}
	partial, first := d.scratchMemory(scratchSquares, 8*total, false), 0
	for _, s := range all {
		if n := s.squaresBlocks(); n > 0 {
			d.expect(rowWork(1, s.rows, s.pitch))
			d.launch("sum_squares", oneBlockPerRow(n), 256, 64, partial+pointer(8*first), s.p, uint64(s.rows*s.pitch))
			first += n
		}
	}
	sum := 0.0
	if total > 0 {
		for _, v := range download[float64](d, partial, total) {
			sum += v
		}
	}
	return sum
}

// squaresBlocks returns the number of blocks of sum_squares for a buffer.
func (b *buffer) squaresBlocks() int { return ceilDiv(b.rows*b.pitch, squaresBlock) }

// AdamW: see device.Trainer.
func (d *Device) AdamW(p, g, m, v device.Buffer, s device.AdamW) {
	rows, cols := p.Rows(), p.Cols()
	pb, gb, mb, vb := d.float32Buffer("adamw", "p", p, rows, cols), d.float32Buffer("adamw", "g", g, rows, cols), d.float32Buffer("adamw", "m", m, rows, cols), d.float32Buffer("adamw", "v", v, rows, cols)
	if d.err != nil {
		return
	}
	if gb.bytes() != pb.bytes() || mb.bytes() != pb.bytes() || vb.bytes() != pb.bytes() || s.Step < 1 {
		d.fail(fmt.Errorf("adamw: want four buffers [%d %d] and a step from 1, got %d, %d, %d rows, step %d", rows, cols, gb.rows, mb.rows, vb.rows, s.Step))
		return
	}
	c1, c2 := 1-math.Pow(s.Beta1, float64(s.Step)), 1-math.Pow(s.Beta2, float64(s.Step))
	n := rows * pb.pitch
	d.expect(rowWork(7, rows, pb.pitch))
	d.launch("adamw", oneBlockPerRow(ceilDiv(n, 1024)), 256, 0, pb.p, gb.p, mb.p, vb.p, uint64(n), float32(s.Clip), float32(1-s.LearningRate*s.WeightDecay),
		float32(1-s.Beta1), float32(s.Beta2), float32(1-s.Beta2), float32(s.LearningRate/c1), float32(math.Sqrt(c2)), float32(s.Eps))
}
