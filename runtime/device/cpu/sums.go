package cpu

import (
	"math"

	kernel "mop/kernels/cpu"
	"mop/runtime/device"
)

// HeadSums: see device.Device. Only one row's products of one head are ever in
// memory; each worker owns a range of heads, so the order of the sum is fixed.
func (d *Device) HeadSums(sums []float64, a device.Buffer, n int, wo device.Weight, hs device.Heads) {
	w, ab := stored(wo), data(a)
	rows, cols := w.rowsCols()
	d.pool.run(hs.H, 1, func(worker, lo, hi int) {
		tmp := d.temp(worker, cols)
		for r := range rows {
			row := w.widen(tmp, r, cols)
			for h := lo; h < hi; h++ {
				block := row[h*hs.Dh : (h+1)*hs.Dh]
				for i := range n {
					v := kernel.Dot(block, ab.data[i*cols+h*hs.Dh:i*cols+(h+1)*hs.Dh])
					sums[h] += math.Abs(float64(v))
				}
			}
		}
	})
}

// ColumnSums: see device.Device.
func (d *Device) ColumnSums(sums []float64, m device.Buffer, n int) {
	mb := data(m)
	for i := range n {
		for j, v := range mb.row(i) {
			sums[j] += math.Abs(float64(v))
		}
	}
}
