//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"slices"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// The operands of training's products. Stored weights are 16-bit, and activations and
// gradients are rounded to their type; float16 gradients are scaled by rows. A trained
// matrix is float32: the matrix and its other operand are each split into three bfloat16
// matrices (kernels/cuda/linear_train_operands.cu),
// which keeps 16 bits of the numbers.

// OperandBuffer: see device.Trainer. The gradient beside float16 weights stays float32, because
// its rows are scaled before they are rounded; so does what a trained weight multiplies.
func (d *Device) OperandBuffer(rows, cols int, gradient bool, ws ...device.Weight) (device.Buffer, error) {
	d.begin("operand buffer")
	var t checkpoint.DType
	for i, w := range ws {
		m := w.(*weight)
		if m.isParameter() || m.int8 || gradient && m.dtype == checkpoint.F16 || i > 0 && m.dtype != t {
			return nil, nil
		}
		t = m.dtype
	}
	if len(ws) == 0 {
		return nil, nil
	}
	b, err := d.zeroed(rows, cols, rowPitch(cols), 2)
	if err == nil {
		b.dtype = t
	}
	return orNil(b, err)
}

// operandBuffer checks that b is a float32 buffer, or one of OperandBuffer beside w, of at least n
// rows of cols columns. It returns nil after a failure.
func (d *Device) operandBuffer(op, name string, b device.Buffer, n, cols int, w *weight) *buffer {
	s := d.activationBuffer(op, name, b, n, cols)
	if s != nil && s.isHalf() && (w.isParameter() || s.dtype != w.dtype) {
		d.fail(fmt.Errorf("%s: %s: want float32 or the type of the weight, got %v beside %v", op, name, s.dtype, w))
		return nil
	}
	return s
}

// isHalf says that a buffer of activations has 16 bits.
func (b *buffer) isHalf() bool { return b.size == 2 }

// halfPrefix begins the part of a kernel's name that names the type of 16-bit activations.
func (b *buffer) halfPrefix() string {
	if b.isHalf() {
		return "half_"
	}
	return ""
}

// operandSuffix is the type of activations in a kernel's name.
func (b *buffer) operandSuffix() string {
	if b.isHalf() {
		return suffix(b.dtype)
	}
	return "f32"
}

// matrixRows is n rows of a matrix, float32 unless an operation says that they may be 16-bit.
type matrixRows struct {
	p              pointer
	pitch, n, cols int
}

func (b *buffer) matrixRows(row, n int) matrixRows { return matrixRows{b.row(row), b.pitch, n, b.cols} }

// halfOperand is a 16-bit operand of a product over k elements.
type halfOperand struct {
	rows16
	k int
}

// fromRow is the rows of an operand from r on, which lie along k.
func (f halfOperand) fromRow(r int) halfOperand {
	f.p += pointer(2 * r * f.pitch)
	return f
}

// isParameter says that a weight is a float32 parameter.
func (w *weight) isParameter() bool { return w.size == 4 }

// checkStored refuses parameters where weights of 16 bits are wanted: a pass without
// gradients, of weights that are being trained in float32.
func (d *Device) checkStored(op string, ws ...*weight) bool {
	for _, w := range ws {
		if w.freed {
			d.fail(fmt.Errorf("%s: weight %v: %w", op, w.shape, device.ErrFreed))
		}
		if w.isParameter() {
			d.fail(fmt.Errorf("%s: want stored weights, got the float32 parameter %v", op, w.shape))
		}
	}
	return d.err == nil
}

// operandType is the type of the operands beside w.
func (w *weight) operandType() checkpoint.DType {
	if w.isParameter() {
		return checkpoint.BF16
	}
	return w.dtype
}

// operandOf is the first n rows of x as what W multiplies.
func (d *Device) operandOf(w *weight, x *buffer, n int) halfOperand {
	if x.isHalf() {
		return halfOperand{rows16{x.p, x.pitch}, x.cols}
	}
	return d.activationOperand(w, x.matrixRows(0, n))
}

// activationOperand is float32 x as what W multiplies, in memory of the device's own.
func (d *Device) activationOperand(w *weight, x matrixRows) halfOperand {
	if w.isParameter() {
		return d.splitByColumns(scratchProductX, x, false)
	}
	ld := rowPitch(x.cols)
	p := d.scratchMemory(scratchProductX, 2*x.n*ld, false)
	d.expect(work{bytes: float64(6 * x.n * x.cols)})
	d.launch("cast_"+suffix(w.dtype), [3]int{x.n, 1, 1}, 256, 0, p, ld, x.p, x.pitch, x.cols)
	return halfOperand{rows16{p, ld}, x.cols}
}

// weightOperand is W for y = W x, across for x' = Wᵀ y'.
func (d *Device) weightOperand(w *weight) halfOperand {
	if w.isParameter() {
		return d.splitByColumns(scratchProductW, w.matrixRows(0, w.rows), true)
	}
	return halfOperand{rows16{w.p, w.pitch}, w.cols}
}

func (d *Device) transposedWeightOperand(w *weight) halfOperand {
	if w.isParameter() {
		return d.splitByRows(scratchProductW, w.matrixRows(0, w.rows), rowPitch(w.rows), true)
	}
	return halfOperand{rows16{w.p, w.pitch}, w.rows}
}

// splitByColumns splits x into three bfloat16 matrices side by side, each padded to the
// pitch of a row.
func (d *Device) splitByColumns(to scratchKind, x matrixRows, second bool) halfOperand {
	ld := rowPitch(x.cols)
	p := d.scratchMemory(to, 2*x.n*3*ld, false)
	d.launch("split_bf16x3", [3]int{x.n, 1, 1}, 256, 0, p, 3*ld, uint64(ld), ld, x.p, x.pitch, x.n, x.cols, asInt(second))
	return halfOperand{rows16{p, 3 * ld}, 3 * ld}
}

// splitByRows splits x into three bfloat16 matrices of the given number of rows, one below
// the other.
func (d *Device) splitByRows(to scratchKind, x matrixRows, rows int, second bool) halfOperand {
	ld := rowPitch(x.cols)
	p := d.scratchMemory(to, 2*3*rows*ld, false)
	d.launch("split_bf16x3", [3]int{rows, 1, 1}, 256, 0, p, ld, uint64(rows)*uint64(ld), ld, x.p, x.pitch, x.n, x.cols, asInt(second))
	return halfOperand{rows16{p, ld}, 3 * rows}
}

func asInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// dropoutMask is a dropout as the kernels take it.
type dropoutMask struct {
	bits pointer // 0 = nothing is dropped
	ld   int     // words of a row
	keep float32
}

// storedMask is the mask of an adapter's last pass, which the forward pass makes and the backward
// pass reads.
type storedMask struct {
	*buffer
	probability float64
	keys        []uint64
	spans       []device.Span
}

// dropoutMask is a dropout over n rows of the input of an adapter a, all of which must belong
// to a span. Its bits stay with a, so that one pass makes them once; most is the rows of the
// longest pass, for which memory is allocated.
func (d *Device) dropoutMask(op string, o device.Dropout, n, most int, a *buffer) dropoutMask {
	if o.Probability == 0 {
		return dropoutMask{keep: 1}
	}
	if !(o.Probability > 0 && o.Probability < 1) || len(o.Keys) != len(o.Spans) {
		d.fail(fmt.Errorf("%s: want a dropout in [0, 1) and a key for each span, got %v, %d keys for %d spans", op, o.Probability, len(o.Keys), len(o.Spans)))
	}
	last := d.uploadSpans(op, o.Spans)
	if d.err == nil && (last != n || d.pass.coveredRows != n) {
		d.fail(fmt.Errorf("%s: want a dropout over %d rows, got spans of %d, up to row %d", op, n, d.pass.coveredRows, last))
	}
	if d.err != nil {
		return dropoutMask{}
	}
	m := dropoutMask{ld: roundUp(a.cols, 128) / 32, keep: float32(1 / (1 - o.Probability))}
	s := a.mask
	if s != nil && s.probability == o.Probability && slices.Equal(s.keys, o.Keys) && slices.Equal(s.spans, o.Spans) {
		m.bits = s.p
		return m
	}
	if s == nil || s.cols < 4*n*m.ld {
		if s != nil {
			s.Free()
			a.mask = nil
		}
		b, err := d.alloc(1, 4*most*m.ld, 4*most*m.ld, 1)
		if err != nil {
			d.fail(fmt.Errorf("%s: dropout: %w", op, err))
			return dropoutMask{}
		}
		s = &storedMask{buffer: b}
		a.mask = s
	}
	m.bits = s.p
	s.probability, s.keys, s.spans = o.Probability, slices.Clone(o.Keys), slices.Clone(o.Spans)
	keys, key := pointer(0), o.Keys[0]
	if len(o.Keys) > 1 {
		keys = uploadScratch(d, scratchDropoutKeys, o.Keys)
	}
	d.expect(work{bytes: float64(4 * n * m.ld)})
	d.launch("dropout_bits", [3]int{ceilDiv(m.ld, 128), n, 1}, 128, 0, m.bits, m.ld, d.pass.positions, keys, key, uint64(uint32(o.Probability*(1<<32))), a.cols)
	return m
}
