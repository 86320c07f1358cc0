//go:build cuda || cudaemu

package cuda

import (
	"fmt"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// What training multiplies. Stored weights are 16-bit, and so are the activations
// and gradients beside them, rounded to the weights' type; gradients are scaled by
// rows where that is float16. A trained matrix is float32: it and what it is
// multiplied by become three bfloat16 matrices each (kernels/cuda/linear_train_operands.cu),
// which keeps 16 bits of the numbers.

// wide is n rows of a float32 matrix.
type wide struct {
	p              pointer
	pitch, n, cols int
}

func (b *buffer) wide(row, n int) wide { return wide{b.row(row), b.pitch, n, b.cols} }

// factor is a 16-bit operand of a product over k elements.
type factor struct {
	rows16
	k int
}

// from is the rows of an operand from r on, which lie along k.
func (f factor) from(r int) factor {
	f.p += pointer(2 * r * f.pitch)
	return f
}

// trained says that a weight is a float32 parameter.
func (w *weight) trained() bool { return w.size == 4 }

// stored refuses parameters where weights of 16 bits are wanted: a pass without
// gradients, of weights that are being trained in float32.
func (d *Device) stored(op string, ws ...*weight) bool {
	for _, w := range ws {
		if w.freed {
			d.fail(fmt.Errorf("%s: weight %v: %w", op, w.shape, device.ErrFreed))
		}
		if w.trained() {
			d.fail(fmt.Errorf("%s: want stored weights, got the float32 parameter %v", op, w.shape))
		}
	}
	return d.err == nil
}

// productType is the type of the operands beside w.
func (w *weight) productType() checkpoint.DType {
	if w.trained() {
		return checkpoint.BF16
	}
	return w.dtype
}

// beside is x as what W multiplies, in memory of the device's own.
func (d *Device) beside(w *weight, x wide) factor {
	if w.trained() {
		return d.thirdsAlong(scratchProductX, x, false)
	}
	ld := rowPitch(x.cols)
	p := d.scratchMemory(scratchProductX, 2*x.n*ld, false)
	d.launch("cast_"+suffix(w.dtype), [3]int{x.n, 1, 1}, 256, 0, p, ld, x.p, x.pitch, x.cols)
	return factor{rows16{p, ld}, x.cols}
}

// along is W for y = W x, across for x' = Wᵀ y'.
func (d *Device) along(w *weight) factor {
	if w.trained() {
		return d.thirdsAlong(scratchProductW, w.wide(0, w.rows), true)
	}
	return factor{rows16{w.p, w.pitch}, w.cols}
}

func (d *Device) across(w *weight) factor {
	if w.trained() {
		return d.thirdsAcross(scratchProductW, w.wide(0, w.rows), rowPitch(w.rows), true)
	}
	return factor{rows16{w.p, w.pitch}, w.rows}
}

// thirdsAlong places the three parts of x side by side, each padded to its pitch.
func (d *Device) thirdsAlong(to scratchKind, x wide, second bool) factor {
	ld := rowPitch(x.cols)
	p := d.scratchMemory(to, 2*x.n*3*ld, false)
	d.launch("split_bf16x3", [3]int{x.n, 1, 1}, 256, 0, p, 3*ld, uint64(ld), ld, x.p, x.pitch, x.n, x.cols, flag(second))
	return factor{rows16{p, 3 * ld}, 3 * ld}
}

// thirdsAcross places them one below the other, rows apart.
func (d *Device) thirdsAcross(to scratchKind, x wide, rows int, second bool) factor {
	ld := rowPitch(x.cols)
	p := d.scratchMemory(to, 2*3*rows*ld, false)
	d.launch("split_bf16x3", [3]int{rows, 1, 1}, 256, 0, p, ld, uint64(rows)*uint64(ld), ld, x.p, x.pitch, x.n, x.cols, flag(second))
	return factor{rows16{p, ld}, 3 * rows}
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// mask is a dropout as the kernels take it.
type mask struct {
	places, keys pointer
	key          uint64 // of all rows where there are no keys
	limit        uint64
	keep         float32
}

// mask is a dropout over n rows, all of which must belong to a span; it uploads
// the keys of several.
func (d *Device) mask(op string, o device.Dropout, n int) mask {
	if o.Probability == 0 {
		return mask{keep: 1}
	}
	if !(o.Probability > 0 && o.Probability < 1) || len(o.Keys) != len(o.Spans) {
		d.fail(fmt.Errorf("%s: want a dropout in [0, 1) and a key for each span, got %v, %d keys for %d spans", op, o.Probability, len(o.Keys), len(o.Spans)))
	}
	last := d.spread(op, o.Spans)
	if d.err == nil && (last != n || d.pass.covered != n) {
		d.fail(fmt.Errorf("%s: want a dropout over %d rows, got spans of %d, up to row %d", op, n, d.pass.covered, last))
	}
	if d.err != nil {
		return mask{}
	}
	m := mask{places: d.pass.places, limit: uint64(uint32(o.Probability * (1 << 32))), keep: float32(1 / (1 - o.Probability))}
	if len(o.Keys) == 1 {
		m.key = o.Keys[0]
	} else {
		m.keys = uploadScratch(d, scratchDropoutKeys, o.Keys)
	}
	return m
}
