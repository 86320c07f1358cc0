package cpu

import (
	"math"

	kernel "mop/kernels/cpu"
	"mop/runtime/device"
)

// widen puts row r of a matrix of c columns into dst as float32, or returns the
// row itself where it is float32 already.
func (w *weight) widen(dst []float32, r, c int) []float32 {
	lo, hi := r*c, (r+1)*c
	switch {
	case w.f32 != nil:
		return w.f32[lo:hi]
	case w.f16 != nil:
		kernel.WidenF16(dst, w.f16[lo:hi])
	default:
		kernel.WidenBF16(dst, w.bf16[lo:hi])
	}
	return dst
}

// dot is row r of a matrix of len(x) columns times x.
func (w *weight) dot(r int, x []float32) float32 {
	lo, hi := r*len(x), (r+1)*len(x)
	switch {
	case w.f32 != nil:
		return kernel.Dot(w.f32[lo:hi], x)
	case w.f16 != nil:
		return kernel.DotF16(w.f16[lo:hi], x)
	default:
		return kernel.DotBF16(w.bf16[lo:hi], x)
	}
}

// rows computes out(n, W[r] . x[n]) for rows lo..hi-1 of W and the first n rows
// of x [n, c]. One row of x uses the stored type directly; more widen each row
// of W once. Both add in the same order.
func (w *weight) rows(tmp, x []float32, n, c, lo, hi int, out func(n, r int, v float32)) {
	for r := lo; r < hi; r++ {
		if n == 1 {
			out(0, r, w.dot(r, x[:c]))
			continue
		}
		row := w.widen(tmp, r, c)
		i := 0
		for ; i+2 <= n; i += 2 {
			a, b := kernel.Dot2(row, x[i*c:(i+1)*c], x[(i+1)*c:(i+2)*c])
			out(i, r, a)
			out(i+1, r, b)
		}
		if i < n {
			out(i, r, kernel.Dot(row, x[i*c:(i+1)*c]))
		}
	}
}

// Embed: see device.Device.
func (d *Device) Embed(x device.Buffer, table device.Weight, ids []int) {
	xb, t := data(x), stored(table)
	for n, id := range ids {
		copy(xb.row(n), t.widen(xb.row(n), id, xb.cols))
	}
}

// normRow: y = x / sqrt(mean(x^2) + eps) * w.   y, x, w [D]
func normRow(y, x, w []float32, eps float64) {
	s := 1 / float32(math.Sqrt(float64(kernel.Dot(x, x)/float32(len(x)))+eps))
	for i, v := range x {
		y[i] = v * s * w[i]
	}
}

// gain is a norm's weight vector as float32.
func (d *Device) gain(w device.Weight) []float32 {
	n := w.Shape()[0]
	return stored(w).widen(make([]float32, n), 0, n)
}

// Norm: see device.Device.
func (d *Device) Norm(y, x device.Buffer, rows []int, w device.Weight, eps float64) {
	g := d.gain(w)
	for i, r := range rows {
		normRow(data(y).row(i), data(x).row(r), g, eps)
	}
}

// normed is norm(x) of the first n rows, in storage of the device's own.
func (d *Device) normed(x *buffer, n int, w device.Weight, eps float64) []float32 {
	if cap(d.hidden) < n*x.cols {
		d.hidden = make([]float32, n*x.cols)
	}
	h, g := d.hidden[:n*x.cols], d.gain(w)
	d.pool.run(n, 16, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			normRow(h[i*x.cols:(i+1)*x.cols], x.row(i), g, eps)
		}
	})
	return h
}

// Linear: see device.Device.
func (d *Device) Linear(_ device.Kind, y, x device.Buffer, n int, w device.Weight) {
	d.linear(data(y), data(x).data, n, w, false)
}

// AddLinear: see device.Device.
func (d *Device) AddLinear(_ device.Kind, x, a device.Buffer, n int, w device.Weight) {
	d.linear(data(x), data(a).data, n, w, true)
}

func (d *Device) linear(y *buffer, x []float32, n int, w device.Weight, add bool) {
	m := stored(w)
	r, c := m.rowsCols()
	d.pool.run(r, 4, func(worker, lo, hi int) {
		m.rows(d.temp(worker, c), x, n, c, lo, hi, func(i, r int, v float32) {
			if add {
				v += y.data[i*y.cols+r]
			}
			y.data[i*y.cols+r] = v
		})
	})
}

// GateUp: see device.Device.
func (d *Device) GateUp(_ device.Kind, m, x device.Buffer, n int, norm, wg, wu device.Weight, eps float64) {
	h, out := d.normed(data(x), n, norm, eps), data(m)
	gate, up := stored(wg), stored(wu)
	r, c := gate.rowsCols()
	d.pool.run(r, 4, func(worker, lo, hi int) {
		tmp := d.temp(worker, c)
		put := func(i, r int, v float32) { out.data[i*out.cols+r] = v }
		gate.rows(tmp, h, n, c, lo, hi, put)
		up.rows(tmp, h, n, c, lo, hi, func(i, r int, v float32) {
			g := out.data[i*out.cols+r]
			out.data[i*out.cols+r] = g / (1 + float32(math.Exp(float64(-g)))) * v
		})
	})
}
