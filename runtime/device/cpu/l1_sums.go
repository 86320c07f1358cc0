package cpu

import (
	"math"

	"mop/runtime/device"
)

// HeadL1: see device.Device. A head is multiplied by groupColumns rows of Wo
// at a time. Each head is summed by one worker, so that the order of the sum is fixed.
func (d *Device) HeadL1(sums []float64, a device.Buffer, n int, wo device.Weight, hs device.AttentionShape) {
	w, ab := asWeight(wo), data(a)
	rowsOut, cols := w.rowsCols()
	d.pool.run(hs.H, 1, func(worker, lo, hi int) {
		p := &d.workers[worker].panels
		z := d.temp(worker, n*groupColumns)
		for h := lo; h < hi; h++ {
			l := newPackedLeft(d.set, &p.left, n, hs.Dh, float32s)
			l.pack(d.set, rowMajor(ab.data, cols).at(0, h*hs.Dh), 0, l.panels())
			for j := 0; j < rowsOut; j += groupColumns {
				wide := min(groupColumns, rowsOut-j)
				p.multiply(d.set, z, wide, &l, 0, l.panels(), w.view().at(j, h*hs.Dh).transposed(), 0, wide, false)
				sums[h] += d.set.SumAbs(z[:n*wide])
			}
		}
	})
}

// ColumnL1: see device.Device.
func (d *Device) ColumnL1(sums []float64, m device.Buffer, n int) {
	mb := data(m)
	d.pool.run(mb.cols, 64, func(_, lo, hi int) {
		for i := range n {
			for j, v := range mb.row(i)[lo:hi] {
				sums[lo+j] += math.Abs(float64(v))
			}
		}
	})
}
