//go:build cuda || cudaemu

package cuda

import (
	"fmt"

	"mop/runtime/device"
)

// HeadL1: see device.Device.
func (d *Device) HeadL1(sums []float64, a device.Buffer, n int, wo device.Weight, hs device.AttentionShape) {
	ab, w := a.(*buffer), wo.(*weight)
	d.begin("head sums", ab.operand("a"), w.operand("wo"))
	if !d.checkStored("head sums", w) {
		return
	}
	if n < 0 || n > ab.rows || ab.size != 2 || ab.cols != hs.H*hs.Dh || w.cols != ab.cols || len(sums) != hs.H || ab.dtype != w.dtype || w.int8 {
		d.fail(fmt.Errorf("head sums: want a [%d %d] and 16-bit weights, got [%d %d], wo %v, 8 bits: %v", n, hs.H*hs.Dh, ab.rows, ab.cols, w.shape, w.int8))
		return
	}
	if n == 0 || w.rows == 0 {
		return
	}
	each := 1
	if hs.Dh%8 == 0 {
		x, y := ceilDiv(w.rows, tile128x128.rows), ceilDiv(n, tile128x128.rows)
		each = x * y
		d.launch("head_sums_"+suffix(w.dtype), [3]int{x, y, hs.H}, tile128x128.threads, tile128x128.sharedBytes(),
			d.scratchMemory(scratchPartials, hs.H*each*4, false), ab.p, ab.pitch, w.p, w.pitch, w.rows, hs.Dh, n)
	} else {
		d.launch("head_sums_any_"+suffix(w.dtype), [3]int{hs.H, 1, 1}, 256, 64, d.scratchMemory(scratchPartials, hs.H*4, false), ab.p, ab.pitch, w.p, w.pitch, w.rows, hs.Dh, n)
	}
	out := d.scratchMemory(scratchSums, 8*hs.H, false)
	d.launch("reduce_head_sums", [3]int{hs.H, 1, 1}, 256, 64, out, d.scratchMemory(scratchPartials, hs.H*each*4, false), each)
	d.addDownloaded(sums, out)
}

// ColumnL1: see device.Device.
func (d *Device) ColumnL1(sums []float64, m device.Buffer, n int) {
	mb := m.(*buffer)
	d.begin("column sums", mb.operand("m"))
	if n < 0 || n > mb.rows || mb.size != 2 || len(sums) != mb.cols {
		d.fail(fmt.Errorf("column sums: want 16-bit [%d %d], got [%d %d]", n, len(sums), mb.rows, mb.cols))
		return
	}
	out := d.scratchMemory(scratchSums, 8*mb.cols, false)
	d.launch("column_sums_"+suffix(mb.dtype), [3]int{ceilDiv(mb.cols, 128), 1, 1}, 128, 0, out, mb.p, mb.pitch, mb.cols, n)
	d.addDownloaded(sums, out)
}

// addDownloaded downloads float64 values and adds them to sums.
func (d *Device) addDownloaded(sums []float64, p pointer) {
	for i, s := range download[float64](d, p, len(sums)) {
		sums[i] += s
	}
}
