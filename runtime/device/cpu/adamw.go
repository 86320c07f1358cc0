package cpu

import (
	"math"

	"mop/runtime/device"
)

// sumBlock is how many squares are added in one go; the blocks' sums are then
// added in order, whoever made them.
const sumBlock = 4096

// SumSquares: see device.Trainer.
func (d *Device) SumSquares(bs ...device.Buffer) float64 {
	sum := 0.0
	for _, b := range bs {
		sum += d.sumSquares(data(b).data)
	}
	return sum
}

func (d *Device) sumSquares(x []float32) float64 {
	blocks := make([]float64, (len(x)+sumBlock-1)/sumBlock)
	d.pool.run(len(blocks), 1, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			for _, v := range x[i*sumBlock : min((i+1)*sumBlock, len(x))] {
				blocks[i] += float64(v) * float64(v)
			}
		}
	})
	sum := 0.0
	for _, s := range blocks {
		sum += s
	}
	return sum
}

// AdamW: see device.Trainer.
func (d *Device) AdamW(p, g, m, v device.Buffer, s device.AdamW) {
	pb, gb, mb, vb := data(p).data, data(g).data, data(m).data, data(v).data
	c1, c2 := 1-math.Pow(s.Beta1, float64(s.Step)), 1-math.Pow(s.Beta2, float64(s.Step))
	clip, keep := float32(s.Clip), float32(1-s.LearningRate*s.WeightDecay)
	b1, b2, r2 := float32(1-s.Beta1), float32(s.Beta2), float32(1-s.Beta2)
	rate, root, eps := float32(s.LearningRate/c1), float32(math.Sqrt(c2)), float32(s.Eps)
	d.pool.run(len(pb), 1024, func(_, lo, hi int) {
		p, g, m, v := pb[lo:hi], gb[lo:hi], mb[lo:hi], vb[lo:hi]
		for i := range p {
			x := clip * g[i]
			m[i] += b1 * (x - m[i])
			v[i] = v[i]*b2 + r2*x*x
			den := float32(math.Sqrt(float64(v[i])))/root + eps
			p[i] = p[i]*keep - rate*(m[i]/den)
		}
	})
}
