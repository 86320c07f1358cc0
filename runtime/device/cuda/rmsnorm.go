//go:build cuda || cudaemu

package cuda

import (
	"fmt"

	"mop/runtime/device"
)

// Norm: see device.Device.
func (d *Device) Norm(y, x device.Buffer, rows []int, w device.Weight, eps float64) {
	yb, xb, g := y.(*buffer), x.(*buffer), w.(*weight)
	d.begin("norm", yb.operand("y"), xb.operand("x"))
	if !d.checkStored("norm", g) {
		return
	}
	if len(rows) > yb.rows || yb.cols != xb.cols || g.rows != 1 || g.cols != xb.cols || yb.size != 4 || xb.size != 4 {
		d.fail(fmt.Errorf("norm: want float32 [%d %d] and gain [%d], got %d rows of [%d %d]", yb.rows, yb.cols, g.cols, len(rows), xb.rows, xb.cols))
		return
	}
	list := make([]int32, len(rows))
	for i, r := range rows {
		if r < 0 || r >= xb.rows {
			d.fail(fmt.Errorf("norm: want a row below %d, got %d", xb.rows, r))
			return
		}
		list[i] = int32(r)
	}
	d.launch("rmsnorm_float_"+suffix(g.dtype), [3]int{len(rows), 1, 1}, 256, 64, yb.p, yb.pitch, xb.p, xb.pitch, uploadScratch(d, scratchRows, list), g.p, float32(eps), xb.cols)
}

// rows16 is the rows of a 16-bit matrix in device memory.
type rows16 struct {
	p     pointer
	pitch int
}

// row returns the address of a row.
func (r rows16) row(i int) pointer { return r.p + pointer(2*i*r.pitch) }

// normalize writes RMSNorm(x) of n rows, rounded to 16 bits, to scratch.
func (d *Device) normalize(x *buffer, rows pointer, n int, g *weight, eps float64) rows16 {
	ld := rowPitch(x.cols)
	h := d.scratchMemory(scratchHidden, n*ld*2, false)
	d.launch("rmsnorm_half_"+suffix(g.dtype), [3]int{n, 1, 1}, 256, 64, h, ld, x.p, x.pitch, rows, g.p, float32(eps), x.cols)
	return rows16{h, ld}
}
