//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"slices"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// What training multiplies. Stored weights are 16-bit, and so are the activations
// and gradients beside them, rounded to the weights' type; gradients are scaled by
// rows where that is float16. A trained matrix is float32: it and what it is
// multiplied by become three bfloat16 matrices each (kernels/cuda/project_operands.cu),
// which keeps 16 bits of the numbers.

// wide is n rows of a float32 matrix.
type wide struct {
	p              pointer
	pitch, n, cols int
}

func (b *buffer) wide(row, n int) wide { return wide{b.row(row), b.pitch, n, b.cols} }

// factor is a 16-bit operand of a product over k elements.
type factor struct {
	halves
	k int
}

// from is the rows of an operand from r on, which lie along k.
func (f factor) from(r int) factor {
	f.p += pointer(2 * r * f.pitch)
	return f
}

// trained says that a weight is a float32 parameter.
func (w *weight) trained() bool { return w.size == 4 }

// productType is the type of the operands beside w.
func (w *weight) productType() checkpoint.DType {
	if w.trained() {
		return checkpoint.BF16
	}
	return w.half
}

// beside is x as what W multiplies, in memory of the device's own.
func (d *Device) beside(w *weight, x wide) factor {
	if w.trained() {
		return d.thirdsAlong("project x", x, false)
	}
	ld := pitch(x.cols)
	p := d.need("project x", 2*x.n*ld, false)
	d.launch("round_"+suffix(w.half), [3]int{x.n, 1, 1}, 256, 0, p, ld, x.p, x.pitch, x.cols)
	return factor{halves{p, ld}, x.cols}
}

// along is W for y = W x, across for x' = Wᵀ y'.
func (d *Device) along(w *weight) factor {
	if w.trained() {
		return d.thirdsAlong("project w", w.wide(0, w.rows), true)
	}
	return factor{halves{w.p, w.pitch}, w.cols}
}

func (d *Device) across(w *weight) factor {
	if w.trained() {
		return d.thirdsAcross("project w", w.wide(0, w.rows), pitch(w.rows), true)
	}
	return factor{halves{w.p, w.pitch}, w.rows}
}

// thirdsAlong places the three parts of x side by side, each padded to its pitch.
func (d *Device) thirdsAlong(name string, x wide, second bool) factor {
	ld := pitch(x.cols)
	p := d.need(name, 2*x.n*3*ld, false)
	d.launch("thirds", [3]int{x.n, 1, 1}, 256, 0, p, 3*ld, uint64(ld), ld, x.p, x.pitch, x.n, x.cols, flag(second))
	return factor{halves{p, 3 * ld}, 3 * ld}
}

// thirdsAcross places them one below the other, rows apart.
func (d *Device) thirdsAcross(name string, x wide, rows int, second bool) factor {
	ld := pitch(x.cols)
	p := d.need(name, 2*3*rows*ld, false)
	d.launch("thirds", [3]int{rows, 1, 1}, 256, 0, p, ld, uint64(rows)*uint64(ld), ld, x.p, x.pitch, x.n, x.cols, flag(second))
	return factor{halves{p, ld}, 3 * rows}
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
	limit        uint64
	keep         float32
}

// mask uploads where the n rows belong, once for all matrices of a pass, and their
// keys. All rows must belong to a span.
func (d *Device) mask(op string, o device.Dropout, n int) mask {
	if o.P == 0 {
		return mask{keep: 1}
	}
	if !(o.P > 0 && o.P < 1) || len(o.Keys) != len(o.Spans) {
		d.fail(fmt.Errorf("%s: want a dropout in [0, 1) and a key for each span, got %v, %d keys for %d spans", op, o.P, len(o.Keys), len(o.Spans)))
		return mask{}
	}
	if !slices.Equal(o.Spans, d.dropped) {
		places := make([][2]int32, n)
		for i := range places {
			places[i][0] = -1
		}
		for s, span := range o.Spans {
			if span.Row < 0 || span.Len < 0 || span.Row+span.Len > n {
				d.fail(fmt.Errorf("%s: dropout: want spans of %d rows, got rows %d to %d", op, n, span.Row, span.Row+span.Len))
				return mask{}
			}
			for r := range span.Len {
				places[span.Row+r] = [2]int32{int32(s), int32(r)}
			}
		}
		for i, p := range places {
			if p[0] < 0 {
				d.fail(fmt.Errorf("%s: dropout: row %d of %d is in no span", op, i, n))
				return mask{}
			}
		}
		put(d, "drop places", places)
		d.dropped = append(d.dropped[:0], o.Spans...)
		d.droppedRows = n
	} else if n != d.droppedRows {
		d.fail(fmt.Errorf("%s: dropout: want spans of %d rows, got %d", op, n, d.droppedRows))
		return mask{}
	}
	return mask{places: d.need("drop places", 8*n, false), keys: put(d, "drop keys", o.Keys), limit: uint64(uint32(o.P * (1 << 32))), keep: float32(1 / (1 - o.P))}
}
