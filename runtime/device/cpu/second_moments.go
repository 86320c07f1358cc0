package cpu

import "mop/runtime/device"

// SecondMoments: see device.SecondMoments. The sums over the rows of one call are float32,
// those over the calls float64.
func (d *Device) SecondMoments(sums []float64, x device.Buffer, n int) {
	b := data(x)
	c := b.cols
	if c == 0 || n == 0 {
		return
	}
	block := d.shared.take(2, c*c)
	for at := 0; at < n; at += prefillRows {
		rows := min(prefillRows, n-at)
		part := rowMajor(b.data, c).at(at, 0)
		d.product(block, c, c, c, rows, part.transposed(), part, false)
		d.pool.run(c, 1, func(_, lo, hi int) {
			for i := lo * c; i < hi*c; i++ {
				sums[i] += float64(block[i])
			}
		})
	}
}
