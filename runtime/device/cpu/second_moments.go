package cpu

import "mop/runtime/device"

// momentBand is how many rows of the second moments are computed at a time: from the
// diagonal on, since the moments are symmetric.
const momentBand = 192

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
		for i := 0; i < c; i += momentBand {
			d.product(block[i*c+i:], c, min(momentBand, c-i), c-i, rows, part.transposed().at(i, 0), part.at(0, i), false)
		}
		const tile = 64 // so that the mirrored half is read from the cache
		d.pool.run((c+tile-1)/tile, 1, func(_, lo, hi int) {
			for first := 0; first < c; first += tile {
				for i := lo * tile; i < min(hi*tile, c); i++ {
					for j := first; j < min(first+tile, c); j++ {
						sums[i*c+j] += float64(block[min(i, j)*c+max(i, j)])
					}
				}
			}
		})
	}
}
