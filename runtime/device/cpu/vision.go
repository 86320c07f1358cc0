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

// linearBias computes each block of a product on top of the bias, and the activation while
// the block is in the cache.
func (d *Device) linearBias(y, x *buffer, n int, w *weight, bias []float32, f device.Activation, add bool) {
	out, in := w.rowsCols()
	right := w.view().transposed()
	l := d.packLeft(rowMajor(x.data, in), n, in, right)
	d.shareColumns(l, []int{out}, func(worker, _, j0, j1, i0, i1 int) {
		r0, r1 := i0*l.rows, min(i1*l.rows, n)
		for i := r0; i < r1; i++ {
			row := y.row(i)[j0:j1]
			if !add {
				copy(row, bias[j0:j1])
				continue
			}
			for j, v := range bias[j0:j1] {
				row[j] += v
			}
		}
		d.workers[worker].panels.multiply(d.set, y.data[r0*y.cols+j0:], y.cols, l, i0, i1, right, j0, j1, true)
		for i := r0; i < r1; i++ {
			activate(d.set, y.row(i)[j0:j1], f)
		}
	})
}

// activate: y = f(y).
func activate(set kernel.Set, y []float32, f device.Activation) {
	switch f {
	case device.QuickGELU:
		set.QuickGELU(y)
	case device.GELU:
		set.GELU(y)
	case device.GELUTanh:
		for j, v := range y {
			z := float64(v)
			y[j] = float32(0.5 * z * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(z+0.044715*z*z*z))))
		}
	}
}

// visionScores bounds the scores that a worker has at a time, so that they stay in the second
// cache, and visionQueries is how many queries it takes at least.
const visionScores, visionQueries = 64 << 10, 48

// visionBlock is how many queries of a head are computed at a time: packing the keys and the
// values then takes little beside the products.
func visionBlock(n, tileRows int) int {
	most := max(visionScores/n, visionQueries)
	blocks := (n + most - 1) / most
	rows := (n + blocks - 1) / blocks
	return (rows + tileRows - 1) / tileRows * tileRows
}

// BidirectionalAttention: see device.Vision. A worker computes the scores of a block of
// queries against all keys, the exponentials of each row, and the weighted values, which are
// divided by the row's sum last.
func (d *Device) BidirectionalAttention(a, qkv device.Buffer, n, heads, dh int) {
	if n == 0 {
		return
	}
	ab, in := data(a), data(qkv)
	tileRows, _ := d.set.TileShape()
	each := visionBlock(n, tileRows)
	blocks := (n + each - 1) / each
	scale := float32(1 / math.Sqrt(float64(dh)))
	d.pool.run(heads*blocks, 1, func(worker, lo, hi int) {
		w := &d.workers[worker]
		z, sums := w.take(2, each*n), w.take(3, each)
		for j := lo; j < hi; j++ {
			h, i0 := j/blocks*dh, j%blocks*each
			rows := min(each, n-i0)
			view := rowMajor(in.data, in.cols)
			queries, keys, values := view.at(i0, h), view.at(0, heads*dh+h), view.at(0, 2*heads*dh+h)
			w.panels.product(d.set, z, n, rows, n, dh, queries, keys.transposed(), false)
			for i := range rows {
				row := z[i*n : (i+1)*n]
				d.set.ExpScaled(row, row, scale, d.set.Max(row)*scale)
				sums[i] = d.set.Sum(row)
			}
			w.panels.product(d.set, ab.data[i0*ab.cols+h:], ab.cols, rows, dh, n, rowMajor(z, n), values, false)
			for i := range rows {
				scaleVector(ab.row(i0 + i)[h:h+dh], 1/sums[i])
			}
		}
	})
}
