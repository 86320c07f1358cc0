//go:build cuda || cudaemu

package cuda

import (
	"fmt"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// Linear: see device.Device.
func (d *Device) Linear(kind device.Phase, y, x device.Buffer, n int, w device.Weight) {
	d.linear(kind, y.(*buffer), x.(*buffer), n, w.(*weight), 0)
}

// AddLinear: see device.Device.
func (d *Device) AddLinear(kind device.Phase, x, a device.Buffer, n int, w device.Weight) {
	d.linear(kind, x.(*buffer), a.(*buffer), n, w.(*weight), 1)
}

func (d *Device) linear(kind device.Phase, y, x *buffer, n int, w *weight, add int) {
	d.begin("linear", y.operand("y"), x.operand("x"), w.operand("w"))
	if !d.checkStored("linear", w) {
		return
	}
	if n < 0 || n > y.rows || n > x.rows || y.cols != w.rows || x.cols != w.cols || y.size != 4 || x.size == 2 && x.dtype != w.dtype {
		d.fail(fmt.Errorf("linear: want y [%d %d], x [%d %d] of %v, got %d rows of y [%d %d], x [%d %d] of %v", n, w.rows, n, w.cols, w.dtype, n, y.rows, y.cols, x.rows, x.cols, x.dtype))
		return
	}
	if kind == device.Prefill {
		d.linearPrefill(rows16{y.p, y.pitch}, d.roundTo16Bit(x, n, w.dtype), n, w, 0, w.rows, add)
		return
	}
	form := 0
	if x.size == 4 {
		form = 1
	}
	d.launchGEMV("linear", w, ceilDiv(w.rows, 2), n, gemvArguments{
		x:      func(at int) []any { return []any{x.row(at), x.pitch, form, w.cols} },
		half:   func() rows16 { return d.roundTo16Bit(x, n, w.dtype) },
		output: func(at, n int) []any { return linearOutput(y.row(at), y.pitch, w, 0, w.rows, n, add) },
	})
}

// linearOutput is the arguments of a decode product of n rows of x by rows lo..lo+out-1 of w,
// from its result on.
func linearOutput(y pointer, pitch int, w *weight, lo, out, n, add int) []any {
	return []any{y, pitch, w.row(lo), w.pitch, out, n, add, w.scales(lo)}
}

// roundTo16Bit returns x as the input of a prefill product. Float32 rows are rounded to
// scratch.
func (d *Device) roundTo16Bit(x *buffer, n int, t checkpoint.DType) rows16 {
	if x.size == 2 {
		return rows16{x.p, x.pitch}
	}
	ld := rowPitch(x.cols)
	h := d.scratchMemory(scratchHidden, n*ld*2, false)
	d.launch("cast_"+suffix(t), [3]int{n, 1, 1}, 256, 0, h, ld, x.p, x.pitch, x.cols)
	return rows16{h, ld}
}

// linearRows multiplies n rows of x by rows lo..lo+out-1 of w, with the kernels of a phase.
func (d *Device) linearRows(kind device.Phase, y, x rows16, n int, w *weight, lo, out int) {
	if kind == device.Prefill {
		d.linearPrefill(y, x, n, w, lo, out, 0)
		return
	}
	d.launchGEMV("linear", w, ceilDiv(out, 2), n, gemvArguments{
		x:      func(at int) []any { return []any{x.row(at), x.pitch, 0, w.cols} },
		half:   func() rows16 { return x },
		output: func(at, n int) []any { return linearOutput(y.p+pointer(4*at*y.pitch), y.pitch, w, lo, out, n, 0) },
	})
}

// linearPrefill multiplies n rows of x by rows lo..lo+out-1 of w with the kernels of
// prefill. y is float32.
func (d *Device) linearPrefill(y, x rows16, n int, w *weight, lo, out, add int) {
	if d.usesTMA(w) {
		d.linearTMA(y, x, n, w, lo, out, add)
		return
	}
	t := chooseMMATile(n, out, d.limits)
	d.expect(productWork(n, w.cols, out, t.rows, t.cols, w.size, float64(4*(1+add)*n*out)))
	d.launch("linear_prefill_"+t.name+"_"+w.kernelSuffix(), t.grid(n, out), t.threads, t.sharedBytes(),
		y.p, y.pitch, x.p, x.pitch, w.row(lo), w.pitch, out, w.cols, n, add, w.scales(lo))
}

// gemvArguments are the arguments of a decode product: of the kernels that normalize or round x
// themselves those of x from row at on, or x in 16 bits, and then those from the outputs of n
// rows on.
type gemvArguments struct {
	x      func(at int) []any
	half   func() rows16
	output func(at, n int) []any
}

// launchGEMV queues the decode product of an operation: n rows of x by pairs of rows of
// weights like w, in as many passes as needed.
func (d *Device) launchGEMV(op string, w *weight, pairs, n int, args gemvArguments) {
	var h rows16
	for at := 0; at < n; {
		p := chooseGEMV(d.info.Set, pairs, w.pitch, w.size, n-at, d.limits)
		if p.rows == 0 {
			d.fail(fmt.Errorf("rows of %d elements: want at most %d bytes of shared memory, got %d", w.pitch, d.limits.shared, p.shared))
			return
		}
		var a []any
		if p.half {
			if at == 0 {
				h = args.half()
			}
			a = []any{h.row(at), h.pitch}
		} else {
			a = args.x(at)
		}
		a = append(a, args.output(at, p.rows)...)
		if p.stages > 0 {
			a = append(a, p.stages)
		}
		d.expect(productWork(p.rows, w.cols, 2*pairs, p.rows, 2*pairs, w.size, float64(8*p.rows*pairs)))
		d.launch(op+"_decode_"+p.variant+w.kernelSuffix(), [3]int{p.grid, 1, 1}, p.threads, p.shared, a...)
		at += p.rows
	}
}
