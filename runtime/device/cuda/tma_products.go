//go:build cuda || cudaemu

package cuda

import (
	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

// The products of prefill by the set sm_90a, of weights of 16 bits: their kernels copy
// boxes out of tensors (kernels/cuda/gemm_wgmma.cuh).

// usesTMA says whether prefill multiplies a weight so.
func (d *Device) usesTMA(w *weight) bool { return d.info.Set == driver.SM90a && !w.int8 }

// tmaPairRows is how many rows lie between the two of a pair in a product: so many rows of the
// first, so many of the second.
const tmaPairRows = 8

// tensorMap makes the map of a tensor of 16-bit elements; ld and stride are the distances of
// rows and of what they make up, elements. A kernel copies nothing of one without
// columns.
func (d *Device) tensorMap(p pointer, cols, rows, deep, ld, stride, box int) driver.TensorMap {
	if d.err != nil || rows == 0 || deep == 0 {
		return driver.TensorMap{}
	}
	m, err := d.driver.Encode(driver.Tensor{Address: p, Dims: [3]int{max(cols, 1), rows, deep}, Strides: [2]int{2 * ld, 2 * stride}, BoxRows: box})
	d.fail(err)
	return m
}

// launchTMA queues the product of n rows x [n, in] by out rows, as the kernel pads them, of
// matrices whose maps are given.
func (d *Device) launchTMA(op string, kind checkpoint.DType, x rows16, n, in, out int, ws []any, args ...any) {
	if n == 0 || out == 0 {
		return
	}
	t := chooseWGMMATile(n, out, d.limits)
	xs := d.tensorMap(x.p, in, n, 1, x.pitch, n*x.pitch, t.rows/t.cluster)
	c := driver.Call{Kernel: op + "_prefill_" + t.name + "_" + suffix(kind), Grid: t.persistentGrid(n, out, d.limits), Threads: t.threads, Shared: t.sharedBytes(), Cluster: t.cluster}
	d.launchCall(c, append(append(ws, xs), args...)...)
}

// linearTMA is rows lo..lo+out-1 of w.
func (d *Device) linearTMA(y, x rows16, n int, w *weight, lo, out, add int) {
	ws := []any{d.tensorMap(w.row(lo), w.cols, out, 1, w.pitch, out*w.pitch, 64)}
	d.launchTMA("linear", w.dtype, x, n, w.cols, out, ws, y.p, y.pitch, out, w.cols, n, add)
}

// gateUpTMA takes eight neurons' gates, their ups, and so on.
func (d *Device) gateUpTMA(h rows16, n int, gate, up *weight, m *buffer) {
	I, in := gate.rows, gate.cols
	var ws []any
	for _, w := range []*weight{gate, up} {
		ws = append(ws, d.tensorMap(w.p, in, I, 1, w.pitch, I*w.pitch, tmaPairRows))
	}
	d.launchTMA("gate_up", gate.dtype, h, n, in, 2*roundUp(I, tmaPairRows), ws, in, I, m.p, m.pitch, n)
}

// qkvTMA takes a matrix as [2*heads, Dh/2, in], the halves that a rotation mixes. args
// are the kernel's from the number of heads on.
func (d *Device) qkvTMA(h rows16, n, in int, q, k, v *weight, hs device.AttentionShape, args []any) {
	half := hs.Dh / 2
	var ws []any
	for _, w := range []*weight{q, k, v} {
		heads := hs.K
		if w == q {
			heads = hs.H
		}
		ws = append(ws, d.tensorMap(w.p, in, half, 2*heads, w.pitch, half*w.pitch, tmaPairRows))
	}
	d.launchTMA("qkv", q.dtype, h, n, in, (hs.H+2*hs.K)*2*roundUp(half, tmaPairRows), ws, append([]any{in}, args...)...)
}
