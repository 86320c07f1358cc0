package cpu

import (
	"math"

	"mop/runtime/device"
)

// logitRows is how many rows' logits are formed at a time.
const logitRows = 16

// logits hands the logits of the given rows to each, up to headRows at a time:
// z [n, V], for the rows from index at on.
func (d *Device) logits(h device.LMHead, rows []int, each func(at, n int, z *buffer)) {
	V, D := h.W.Shape()[0], h.X.Cols()
	k := min(logitRows, len(rows))
	last := &buffer{make([]float32, k*D), k, D}
	z := &buffer{make([]float32, k*V), k, V}
	for at := 0; at < len(rows); at += logitRows {
		n := min(logitRows, len(rows)-at)
		d.Norm(last, h.X, rows[at:at+n], h.Norm, h.Eps)
		d.Linear(h.Phase, z, last, n, h.W)
		each(at, n, z)
	}
}

// Argmax: see device.Device.
func (d *Device) Argmax(tokens []int, h device.LMHead, rows []int) {
	d.logits(h, rows, func(at, n int, z *buffer) {
		for i := range n {
			best, finite := d.set.Argmax(z.row(i))
			if !finite {
				best = -1
			}
			tokens[at+i] = best
		}
	})
}

// CompareLogits: see device.Device.
func (d *Device) CompareLogits(out []device.Divergence, p, q device.LMHead, rows []int) {
	for at := 0; at < len(rows); at += logitRows {
		part := rows[at:min(at+logitRows, len(rows))]
		d.logits(p, part, func(_, n int, zp *buffer) {
			d.logits(q, part, func(_, _ int, zq *buffer) {
				d.pool.run(n, 1, func(_, lo, hi int) {
					for i := lo; i < hi; i++ {
						out[at+i] = divergence(zp.row(i), zq.row(i))
					}
				})
			})
		})
	}
}

// divergence compares the logits of the reference, p, with q.   p, q [V]
func divergence(p, q []float32) device.Divergence {
	lp, lq := logSumExp(p), logSumExp(q)
	var kl, pp, qq, pq float64
	for i := range p {
		a, b := float64(p[i]), float64(q[i])
		pp, qq, pq = pp+a*a, qq+b*b, pq+a*b
		kl += math.Exp(a-lp) * ((a - lp) - (b - lq))
	}
	return device.Divergence{KL: max(kl, 0), Cosine: pq / math.Sqrt(pp*qq), SameArgmax: argmax(p) == argmax(q)}
}

// argmax is the index of the largest of z, the lowest of equals.
func argmax(z []float32) int {
	best := 0
	for i, v := range z {
		if v > z[best] {
			best = i
		}
	}
	return best
}

// logSumExp is log sum exp z.
func logSumExp(z []float32) float64 {
	top := float64(z[0])
	for _, v := range z {
		top = max(top, float64(v))
	}
	sum := 0.0
	for _, v := range z {
		sum += math.Exp(float64(v) - top)
	}
	return top + math.Log(sum)
}
