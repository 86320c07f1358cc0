package cpu

import (
	"math"

	"mop/runtime/device"
)

// logitRows is how many rows' logits are formed at a time.
const logitRows = 16

// logits hands the logits of the given rows to each, up to logitRows at a time:
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
						out[at+i] = d.divergence(zp.row(i), zq.row(i))
					}
				})
			})
		})
	}
}

// expPart is how many exponentials are computed at a time.
const expPart = 1024

// divergence compares the logits of the reference, p, with q. With the largest logits tp and
// tq, sp = sum exp(p - tp) and sq = sum exp(q - tq), the KL divergence is
// sum exp(p - tp) (p - q) / sp - (tp + log sp) + (tq + log sq).   p, q [V]
func (d *Device) divergence(p, q []float32) device.Divergence {
	tp, tq := d.set.Max(p), d.set.Max(q)
	var e, f [expPart]float32
	var sp, sq, between, pp, qq, pq float64
	for at := 0; at < len(p); at += expPart {
		n := min(expPart, len(p)-at)
		x, y, e, f := p[at:at+n], q[at:at+n], e[:n], f[:n]
		d.set.ExpScaled(e, x, 1, tp)
		d.set.ExpScaled(f, y, 1, tq)
		for i, v := range x {
			a, b, w := float64(v), float64(y[i]), float64(e[i])
			pp, qq, pq = pp+a*a, qq+b*b, pq+a*b
			sp, sq, between = sp+w, sq+float64(f[i]), between+w*(a-b)
		}
	}
	kl := between/sp - (float64(tp) + math.Log(sp)) + (float64(tq) + math.Log(sq))
	// The vector instructions for exp do not keep what is not finite; the squares do.
	kl += (pp - pp) + (qq - qq)
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
