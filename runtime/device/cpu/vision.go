package cpu

import (
	"math"

	kernel "mop/kernels/cpu"
	"mop/runtime/device"
)

var _ device.Vision = (*Device)(nil)

// LayerNorm: see device.Vision.
func (d *Device) LayerNorm(y, x device.Buffer, n int, w, b device.Weight, eps float64) {
	yb, xb, gain, bias := data(y), data(x), asWeight(w).gain, asWeight(b).gain
	d.pool.run(n, 8, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			layerNormRow(d.set, yb.row(i), xb.row(i), gain, bias, eps)
		}
	})
}

func layerNormRow(set kernel.Set, y, x, gain, bias []float32, eps float64) {
	D := float32(len(x))
	mean := set.Sum(x) / D
	for j, v := range x {
		y[j] = v - mean
	}
	set.ScaleMul(y, y, 1/float32(math.Sqrt(float64(set.SumSquares(y)/D)+eps)), gain)
	for j, v := range bias {
		y[j] += v
	}
}

// LinearBias: see device.Vision.
func (d *Device) LinearBias(y, x device.Buffer, n int, w, b device.Weight, f device.Activation) {
	d.linearBias(data(y), data(x), n, asWeight(w), asWeight(b).gain, f, false)
}

// AddLinearBias: see device.Vision.
func (d *Device) AddLinearBias(x, a device.Buffer, n int, w, b device.Weight) {
	d.linearBias(data(x), data(a), n, asWeight(w), asWeight(b).gain, device.Identity, true)
}

// linearBias computes each block of a product and, while it is in the cache, the bias and
// the activation of it.
func (d *Device) linearBias(y, x *buffer, n int, w *weight, bias []float32, f device.Activation, add bool) {
	out, in := w.rowsCols()
	right := w.view().transposed()
	l := d.packLeft(rowMajor(x.data, in), n, in, right)
	d.shareColumns(l, []int{out}, func(worker, _, j0, j1, i0, i1 int) {
		r0, r1 := i0*l.rows, min(i1*l.rows, n)
		d.workers[worker].panels.multiply(d.set, y.data[r0*y.cols+j0:], y.cols, l, i0, i1, right, j0, j1, add)
		for i := r0; i < r1; i++ {
			activate(d.set, y.row(i)[j0:j1], bias[j0:j1], f)
		}
	})
}

// activate: y = f(y + bias).
func activate(set kernel.Set, y, bias []float32, f device.Activation) {
	for j, v := range bias {
		y[j] += v
	}
	switch f {
	case device.QuickGELU:
		var e [groupColumns]float32
		for ; len(y) > 0; y = y[min(len(y), len(e)):] {
			n := min(len(y), len(e))
			set.ExpScaled(e[:n], y[:n], -1.702, 0)
			for j := range n {
				y[j] /= 1 + e[j]
			}
		}
	case device.GELU:
		for j, v := range y {
			y[j] = float32(0.5 * float64(v) * (1 + math.Erf(float64(v)/math.Sqrt2)))
		}
	case device.GELUTanh:
		for j, v := range y {
			z := float64(v)
			y[j] = float32(0.5 * z * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(z+0.044715*z*z*z))))
		}
	}
}

// visionQueries is how many queries of a head are computed at a time: their scores of all
// keys stay in the second cache.
const visionQueries = 48

// BidirectionalAttention: see device.Vision. A worker computes the scores of a block of
// queries against all keys, the softmax of each row, and the weighted values.
func (d *Device) BidirectionalAttention(a, q, k, v device.Buffer, n, heads, dh int) {
	ab, qb, kb, vb := data(a), data(q), data(k), data(v)
	blocks := (n + visionQueries - 1) / visionQueries
	scale := float32(1 / math.Sqrt(float64(dh)))
	d.pool.run(heads*blocks, 1, func(worker, lo, hi int) {
		w := &d.workers[worker]
		z := w.take(2, visionQueries*n)
		for j := lo; j < hi; j++ {
			h, i0 := j/blocks*dh, j%blocks*visionQueries
			rows := min(visionQueries, n-i0)
			queries := rowMajor(qb.data, qb.cols).at(i0, h).scaled(scale)
			keys, values := rowMajor(kb.data, kb.cols).at(0, h), rowMajor(vb.data, vb.cols).at(0, h)
			w.panels.product(d.set, z, n, rows, n, dh, queries, keys.transposed(), false)
			for i := range rows {
				row := z[i*n : (i+1)*n]
				d.set.ExpScaled(row, row, 1, d.set.Max(row))
				scaleVector(row, 1/d.set.Sum(row))
			}
			w.panels.product(d.set, ab.data[i0*ab.cols+h:], ab.cols, rows, dh, n, rowMajor(z, n), values, false)
		}
	})
}
