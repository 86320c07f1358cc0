//go:build cuda || cudaemu

package cuda

import (
	"fmt"

	"mop/runtime/device"
)

// GateUp: see device.Device.
func (d *Device) GateUp(kind device.Phase, m, x device.Buffer, n int, norm, wg, wu device.Weight, eps float64) {
	mb, xb, g, gate, up := m.(*buffer), x.(*buffer), norm.(*weight), wg.(*weight), wu.(*weight)
	d.begin("gate-up", mb.operand("m"), xb.operand("x"), gate.operand("gate"), up.operand("up"))
	if !d.checkStored("gate-up", g, gate, up) {
		return
	}
	if n < 0 || n > mb.rows || n > xb.rows || g.rows != 1 || g.cols != xb.cols || mb.size != 2 || xb.size != 4 || mb.cols != gate.rows || up.rows != gate.rows || gate.cols != xb.cols || up.cols != xb.cols || up.dtype != gate.dtype || g.dtype != gate.dtype || up.int8 != gate.int8 {
		d.fail(fmt.Errorf("gate-up: want m [%d %d], x [%d %d] and one type, got norm %v, gate %v up %v, m [%d %d], x [%d %d]", n, gate.rows, n, gate.cols, g, gate, up, mb.rows, mb.cols, xb.rows, xb.cols))
		return
	}
	mb.dtype = gate.dtype
	if kind == device.Prefill {
		h := d.normalize(xb, 0, n, g, eps)
		if d.usesTMA(gate) {
			d.gateUpTMA(h, n, gate, up, mb)
			return
		}
		t := chooseMMATile(n, 2*gate.rows, d.limits)
		d.expect(productWork(n, xb.cols, 2*gate.rows, t.rows, t.cols, gate.size, float64(2*n*gate.rows)))
		d.launch("gate_up_prefill_"+t.name+"_"+gate.kernelSuffix(), t.grid(n, 2*gate.rows), t.threads, t.sharedBytes(),
			h.p, h.pitch, xb.cols, gate.p, up.p, gate.pitch, gate.rows, mb.p, mb.pitch, n)
		return
	}
	d.launchGEMV("gate_up", gate, gate.rows, n, gemvArguments{
		x:    func(at int) []any { return []any{xb.row(at), xb.pitch, xb.cols, g.p, float32(eps)} },
		half: func() rows16 { return d.normalize(xb, 0, n, g, eps) },
		output: func(at, n int) []any {
			return []any{gate.p, up.p, gate.pitch, gate.rows, mb.row(at), mb.pitch, n}
		},
	})
}
