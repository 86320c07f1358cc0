package cpu

import (
	"math"

	kernel "mop/kernels/cpu"
	"mop/runtime/device"
)

// Embed: see device.Device.
func (d *Device) Embed(x device.Buffer, table device.Weight, tokens []int) {
	xb, t := data(x), asWeight(table)
	for n, token := range tokens {
		copy(xb.row(n), t.widen(d.set, xb.row(n), token, xb.cols))
	}
}

// normRow: y = x / sqrt(mean(x^2) + eps) * w.   y, x, w [D]
func normRow(set kernel.Set, y, x, w []float32, eps float64) {
	s := 1 / float32(math.Sqrt(float64(set.SumSquares(x)/float32(len(x)))+eps))
	set.ScaleMul(y, x, s, w)
}

// Norm: see device.Device.
func (d *Device) Norm(y, x device.Buffer, rows []int, w device.Weight, eps float64) {
	g := asWeight(w).gain
	for i, r := range rows {
		normRow(d.set, data(y).row(i), data(x).row(r), g, eps)
	}
}

// normed is norm(x) of the first n rows, in storage of the device's own.
func (d *Device) normed(x *buffer, n int, w device.Weight, eps float64) []float32 {
	h, g := d.shared.take(1, n*x.cols), asWeight(w).gain
	d.pool.run(n, 8, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			normRow(d.set, h[i*x.cols:(i+1)*x.cols], x.row(i), g, eps)
		}
	})
	return h
}

// Linear: see device.Device.
func (d *Device) Linear(kind device.Phase, y, x device.Buffer, n int, w device.Weight) {
	d.linear(kind, data(y), data(x).data, n, asWeight(w), false)
}

// AddLinear: see device.Device.
func (d *Device) AddLinear(kind device.Phase, x, a device.Buffer, n int, w device.Weight) {
	d.linear(kind, data(x), data(a).data, n, asWeight(w), true)
}

func (d *Device) linear(kind device.Phase, y *buffer, x []float32, n int, w *weight, add bool) {
	r, c := w.rowsCols()
	if kind == device.Prefill {
		d.product(y.data, y.cols, n, r, c, rowMajor(x, c), w.view().transposed(), add)
		return
	}
	d.gemv = gemv{gemvInput: d.newInput(x, n, c, w), ws: [3]*weight{w}, out: [3]gemvOutput{{y.data, y.cols}}, add: add}
	d.runGEMV()
}

// GateUp: see device.Device.
func (d *Device) GateUp(kind device.Phase, m, x device.Buffer, n int, norm, wg, wu device.Weight, eps float64) {
	out, gate, up := data(m), asWeight(wg), asWeight(wu)
	r, c := gate.rowsCols()
	if kind == device.Prefill {
		l := d.packLeft(rowMajor(d.normed(data(x), n, norm, eps), c), n, c, gate.view().transposed(), up.view().transposed())
		d.shareColumns(l, []int{r}, func(worker, _, j0, j1, i0, i1 int) {
			p := &d.workers[worker]
			r0, r1, w := i0*l.rows, min(i1*l.rows, n), j1-j0
			g, u := p.take(2, (r1-r0)*w), p.take(3, (r1-r0)*w)
			p.panels.multiply(d.set, g, w, l, i0, i1, gate.view().transposed(), j0, j1, false)
			p.panels.multiply(d.set, u, w, l, i0, i1, up.view().transposed(), j0, j1, false)
			for i := range r1 - r0 {
				at := (r0+i)*out.cols + j0
				d.set.SiluMul(out.data[at:at+w], g[i*w:(i+1)*w], u[i*w:(i+1)*w])
			}
		})
		return
	}
	d.gemv = gemv{gemvInput: d.newInput(data(x).data, n, c, gate, up), ws: [3]*weight{gate, up}, out: [3]gemvOutput{1: {out.data, out.cols}}}
	d.gemv.gain, d.gemv.eps = asWeight(norm).gain, eps
	if tg, tu := gate.kind(), up.kind(); tg != tu {
		g := d.shared.take(1, n*r)
		d.gemv.out[0] = gemvOutput{g, r}
		d.runGEMV()
		d.pool.run(n, 1, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				d.set.SiluMul(out.row(i), g[i*r:(i+1)*r], out.row(i))
			}
		})
		return
	}
	d.gemv.vectors = d.takesVectors(&d.gemv)
	d.shareWork(d.gemv.countSteps(gate), (gate.Bytes()+up.Bytes())*int64(n), d.parts.gateUp)
}

// gateUpPart is some rows of GateUp in a decode pass, for gate and up of one type:
// d.gemv without its first output.
func (d *Device) gateUpPart(worker, lo, hi int) {
	o := &d.gemv
	gate, up, out := o.ws[0], o.ws[1], o.out[1]
	r := gate.shape[0]
	g := gemvOutput{d.workers[worker].take(0, o.n*r), r}
	x := d.arrangedInput(worker, &o.gemvInput, gate.kind())
	d.gemvSteps(g, gate, lo, hi, x)
	d.gemvSteps(out, up, lo, hi, x)
	// The rows of the steps: one range, or one of each stream.
	each, stride := 1, gate.streamSteps()
	if o.vectors {
		each, stride = blockRows, r
	}
	for i := range o.n {
		for from := 0; from < r; from += stride {
			if a, b := from+lo*each, min(from+hi*each, r); a < b {
				u := out.row(i)[a:b]
				d.set.SiluMul(u, g.row(i)[a:b], u)
			}
		}
	}
}
