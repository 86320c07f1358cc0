// Package reference implements the operations of training as plain loops that follow the
// formulas, in float32 or float64. Tests compare the devices with them, and check them with
// finite differences. Matrices are row-major slices. y' (dy in the code) is the gradient of
// the loss by y; gradients are added to the values that their slices hold.
package reference

import "math"

// Float is the type that a reference computes in.
type Float interface{ float32 | float64 }

func exp[F Float](x F) F { return F(math.Exp(float64(x))) }

// Linear: y[n] = W x[n].   y [n, out], x [n, in], w [out, in]
func Linear[F Float](y, x, w []F, n, out, in int) {
	for i := range n {
		for o := range out {
			var s F
			for j := range in {
				s += w[o*in+j] * x[i*in+j]
			}
			y[i*out+o] = s
		}
	}
}

// LinearBackward: x' += Wᵀ y', W' += y' xᵀ; a nil gradient is left out.
func LinearBackward[F Float](dx, dw, dy, x, w []F, n, out, in int) {
	for i := range n {
		for o := range out {
			g := dy[i*out+o]
			for j := range in {
				if dx != nil {
					dx[i*in+j] += w[o*in+j] * g
				}
				if dw != nil {
					dw[o*in+j] += g * x[i*in+j]
				}
			}
		}
	}
}

// Norm: y[n] = x[n] / sqrt(mean(x[n]^2) + eps) * w.   y, x [n, d], w [d]
func Norm[F Float](y, x, w []F, n, d int, eps float64) {
	for i := range n {
		r := rms(x[i*d:(i+1)*d], eps)
		for j := range d {
			y[i*d+j] = x[i*d+j] * r * w[j]
		}
	}
}

// rms is 1/sqrt(mean(x^2) + eps).
func rms[F Float](x []F, eps float64) F {
	var s F
	for _, v := range x {
		s += v * v
	}
	return F(1 / math.Sqrt(float64(s)/float64(len(x))+eps))
}

// NormBackward: x' += r (w y' - x mean(w y' x) r^2), w' += sum_n y' x r.
func NormBackward[F Float](dx, dw, dy, x, w []F, n, d int, eps float64) {
	for i := range n {
		r := rms(x[i*d:(i+1)*d], eps)
		var dot F
		for j := range d {
			dot += w[j] * dy[i*d+j] * x[i*d+j]
		}
		dot *= r * r / F(d)
		for j := range d {
			dx[i*d+j] += r * (w[j]*dy[i*d+j] - x[i*d+j]*dot)
			dw[j] += dy[i*d+j] * x[i*d+j] * r
		}
	}
}

// RoPE turns the pairs (x[i], x[i+Dh/2]) of every head by pos*freq[i]: row n is
// position n. sign -1 turns back, which is also its gradient.   x [n, heads*dh]
func RoPE[F Float](x []F, n, heads, dh int, freq []float32, sign F) {
	for row := range n {
		for h := range heads {
			head := x[(row*heads+h)*dh : (row*heads+h+1)*dh]
			for i, f := range freq {
				s, c := math.Sincos(float64(float32(row) * f))
				a, b := head[i], head[i+dh/2]
				head[i] = a*F(c) - sign*b*F(s)
				head[i+dh/2] = b*F(c) + sign*a*F(s)
			}
		}
	}
}

// Attention: a[n,h] = sum_t softmax_t(q[n,h] . k[t,h/g] / sqrt(dh)) v[t,h/g] over
// t <= n, g = heads/kv; stats[n,h] = log sum exp of the scores.
func Attention[F Float](a, stats, q, k, v []F, n, heads, kv, dh int) {
	for i := range n {
		for h := range heads {
			p := scores(q, k, i, h, heads, kv, dh)
			top := p[0]
			for _, s := range p {
				top = max(top, s)
			}
			var sum F
			for t := range p {
				sum += exp(p[t] - top)
			}
			lse := top + F(math.Log(float64(sum)))
			stats[i*heads+h] = lse
			out := a[(i*heads+h)*dh : (i*heads+h+1)*dh]
			clear(out)
			for t := range p {
				for d := range dh {
					out[d] += exp(p[t]-lse) * v[(t*kv+h*kv/heads)*dh+d]
				}
			}
		}
	}
}

// scores are q[i,h] . k[t] / sqrt(dh) for t = 0..i.
func scores[F Float](q, k []F, i, h, heads, kv, dh int) []F {
	p := make([]F, i+1)
	scale := F(1 / math.Sqrt(float64(dh)))
	for t := range p {
		for d := range dh {
			p[t] += q[(i*heads+h)*dh+d] * k[(t*kv+h*kv/heads)*dh+d] * scale
		}
	}
	return p
}

// AttentionBackward: with p the probabilities, p'[t] = a' . v[t] and s'[t] = p[t] (p'[t] -
// a' . a): v[t]' += p[t] a', q' += s'[t] k[t]/sqrt(dh), k[t]' += s'[t] q/sqrt(dh).
func AttentionBackward[F Float](dq, dk, dv, da, a, stats, q, k, v []F, n, heads, kv, dh int) {
	scale := F(1 / math.Sqrt(float64(dh)))
	for i := range n {
		for h := range heads {
			at := (i*heads + h) * dh
			var delta F
			for d := range dh {
				delta += da[at+d] * a[at+d]
			}
			for t, s := range scores(q, k, i, h, heads, kv, dh) {
				p := exp(s - stats[i*heads+h])
				kt := (t*kv + h*kv/heads) * dh
				var dp F
				for d := range dh {
					dp += da[at+d] * v[kt+d]
				}
				ds := p * (dp - delta) * scale
				for d := range dh {
					dv[kt+d] += p * da[at+d]
					dq[at+d] += ds * k[kt+d]
					dk[kt+d] += ds * q[at+d]
				}
			}
		}
	}
}

// SwiGLU: m = silu(g) u, silu(z) = z/(1+exp(-z)).
func SwiGLU[F Float](m, g, u []F) {
	for i := range m {
		m[i] = g[i] / (1 + exp(-g[i])) * u[i]
	}
}

// SwiGLUBackward: u' += m' silu(g), g' += m' u s (1 + g (1-s)), s = 1/(1+exp(-g)).
func SwiGLUBackward[F Float](dg, du, dm, g, u []F) {
	for i := range dm {
		s := 1 / (1 + exp(-g[i]))
		du[i] += dm[i] * g[i] * s
		dg[i] += dm[i] * u[i] * s * (1 + g[i]*(1-s))
	}
}

// CrossEntropy is the softmax cross-entropy of each row of logits z [n, v] against its
// target; dz += scale[n] (softmax(z[n]) - onehot(target[n])).
func CrossEntropy[F Float](nll, dz, z []F, targets []int, scale []F, v int) {
	for i, target := range targets {
		row := z[i*v : (i+1)*v]
		top := row[0]
		for _, x := range row {
			top = max(top, x)
		}
		var sum F
		for _, x := range row {
			sum += exp(x - top)
		}
		lse := top + F(math.Log(float64(sum)))
		nll[i] = lse - row[target]
		for j, x := range row {
			dz[i*v+j] += scale[i] * exp(x-lse)
		}
		dz[i*v+target] -= scale[i]
	}
}

// AdamW is one step of decoupled AdamW: see device.AdamW.
func AdamW[F Float](p, g, m, v []F, rate, beta1, beta2, eps, decay, clip float64, step int) {
	c1, c2 := 1-math.Pow(beta1, float64(step)), 1-math.Pow(beta2, float64(step))
	for i := range p {
		x := F(clip) * g[i]
		p[i] -= F(rate*decay) * p[i]
		m[i] = F(beta1)*m[i] + F(1-beta1)*x
		v[i] = F(beta2)*v[i] + F(1-beta2)*x*x
		p[i] -= F(rate/c1) * m[i] / (F(math.Sqrt(float64(v[i])/c2)) + F(eps))
	}
}
