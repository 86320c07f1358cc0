package cpu

import (
	"math"

	kernel "mop/kernels/cpu"
	"mop/runtime/device"
)

// NormForward: see device.Trainer.
func (d *Device) NormForward(y, r, x device.Buffer, n int, w device.Weight, eps float64) {
	yb, rb, xb, g := data(y), data(r), data(x), asWeight(w).gain
	d.pool.run(n, 16, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			in, out := xb.row(i), yb.row(i)
			s := 1 / float32(math.Sqrt(float64(kernel.Dot(in, in)/float32(len(in)))+eps))
			rb.data[i] = s
			for j, v := range in {
				out[j] = v * s * g[j]
			}
		}
	})
}

// NormBackward: see device.Trainer.
func (d *Device) NormBackward(dx, dw, dy, x, r device.Buffer, n int, w device.Weight) {
	dxb, dyb, xb, rb, g := data(dx), data(dy), data(x), data(r), asWeight(w).gain
	d.pool.run(n, 16, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			in, grad, out, s := xb.row(i), dyb.row(i), dxb.row(i), rb.data[i]
			var dot float64
			for j, v := range in {
				dot += float64(g[j] * grad[j] * v)
			}
			c := float32(dot/float64(len(in))) * s * s
			for j, v := range in {
				out[j] += s * (g[j]*grad[j] - v*c)
			}
		}
	})
	if dw == nil {
		return
	}
	sum := data(dw).data
	d.pool.run(len(sum), 16, func(_, lo, hi int) {
		for i := range n {
			in, grad, s := xb.row(i), dyb.row(i), rb.data[i]
			for j := lo; j < hi; j++ {
				sum[j] += grad[j] * in[j] * s
			}
		}
	})
}
