//go:build cuda || cudaemu

package cuda

import (
	"fmt"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

// In the set sm_90a the prefill products of 16-bit weights copy TMA tiles
// (kernels/cuda/gemm_wgmma.cuh).

// usesTMA reports whether prefill multiplies a weight with TMA.
func (d *Device) usesTMA(w *weight) bool { return d.info.Set == driver.SM90a && !w.int8 }

// tmaPairRows is the distance of the two rows of a pair in a product: 8 rows of the first matrix
// or half are followed by 8 rows of the second.
const tmaPairRows = 8

// tensorMap encodes the map of a tensor [deep, rows, cols] of 16-bit elements. ld and stride are
// the distances of rows and of matrices in elements; box is the rows of a TMA tile. Kernels
// copy nothing of a tensor without columns.
func (d *Device) tensorMap(p pointer, cols, rows, deep, ld, stride, box int) driver.TensorMap {
	if d.err != nil || rows == 0 || deep == 0 {
		return driver.TensorMap{}
	}
	m, err := d.driver.Encode(driver.Tensor{Address: p, Dims: [3]int{max(cols, 1), rows, deep}, Strides: [2]int{2 * ld, 2 * stride}, BoxRows: box})
	d.fail(err)
	return m
}

// weightRows is the rows of W that one copy brings, of the matrices that lie as they are.
func (t gemmTile) weightRows() int { return 64 / t.across() }

// wgmmaTile returns the tile of wgmma for a product of n rows of x by out rows of W.
func (d *Device) wgmmaTile(n, out int) gemmTile {
	if d.limits.clustersOfFour == 0 && d.tilePrices[tile256x4.name] < d.tilePrices["wgmma256"] {
		d.countClustersOfFour()
	}
	return chooseWGMMATile(d.tilePrices, n, out, d.limits)
}

// countClustersOfFour asks the driver how many clusters of four blocks run at once: a group of
// multiprocessors whose number is not a multiple of four cannot use all of them.
func (d *Device) countClustersOfFour() {
	t := tile256x4
	d.limits.clustersOfFour = t.residentClusters(d.limits)
	if c, ok := d.driver.(driver.ClusterCounter); ok {
		n, err := c.ResidentClusters(driver.Call{Kernel: "linear_prefill_" + t.name + "_bf16", Grid: [3]int{t.cluster, 1, 1}, Threads: t.threads, Shared: t.sharedBytes(), Cluster: t.cluster})
		if err != nil {
			d.fail(fmt.Errorf("clusters of four blocks: %w", err))
		} else if n > 0 {
			d.limits.clustersOfFour = n
		}
	}
}

// launchTMA queues the product of x [n, in] by out rows, including padding rows, of the matrices
// whose tensor maps maps returns for a tile; outBytes is what is read and written of the outputs.
func (d *Device) launchTMA(op string, kind checkpoint.DType, x rows16, n, in, out int, outBytes float64, maps func(gemmTile) []any, args ...any) {
	if n == 0 || out == 0 {
		return
	}
	t := d.wgmmaTile(n, out)
	ws, xs := maps(t), d.tensorMap(x.p, in, n, 1, x.pitch, n*x.pitch, t.rows/t.along())
	c := driver.Call{Kernel: op + "_prefill_" + t.name + "_" + suffix(kind), Grid: t.persistentGrid(n, out, d.limits), Threads: t.threads, Shared: t.sharedBytes(), Cluster: t.cluster}
	d.expect(productWork(n, in, out, t.rows*t.across(), t.cols*t.along(), 2, outBytes))
	d.launchCall(c, append(append(ws, xs), args...)...)
}

// linearTMA multiplies x by rows lo..lo+out-1 of w.
func (d *Device) linearTMA(y, x rows16, n int, w *weight, lo, out, add int) {
	maps := func(t gemmTile) []any {
		return []any{d.tensorMap(w.row(lo), w.cols, out, 1, w.pitch, out*w.pitch, t.weightRows())}
	}
	d.launchTMA("linear", w.dtype, x, n, w.cols, out, float64(4*(1+add)*n*out), maps, y.p, y.pitch, out, w.cols, n, add)
}

// gateUpTMA multiplies by 8 gate rows, the 8 up rows of the same neurons, and so on.
func (d *Device) gateUpTMA(h rows16, n int, gate, up *weight, m *buffer) {
	I, in := gate.rows, gate.cols
	var ws []any
	for _, w := range []*weight{gate, up} {
		ws = append(ws, d.tensorMap(w.p, in, I, 1, w.pitch, I*w.pitch, tmaPairRows))
	}
	d.launchTMA("gate_up", gate.dtype, h, n, in, 2*roundUp(I, tmaPairRows), float64(2*n*I), func(gemmTile) []any { return ws }, in, I, m.p, m.pitch, n)
}

// qkvTMA reads a matrix as [2*heads, Dh/2, in], because RoPE mixes the two halves of a head. args
// are the kernel's arguments from the number of heads on.
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
	d.launchTMA("qkv", q.dtype, h, n, in, (hs.H+2*hs.K)*2*roundUp(half, tmaPairRows), float64(2*n*(hs.H+2*hs.K)*hs.Dh), func(gemmTile) []any { return ws }, append([]any{in}, args...)...)
}
