package reference

import "math"

// LayerNorm: y[n] = (x[n] - mean) / sqrt(var + eps) * w + b.   y, x [n, d], w, b [d]
func LayerNorm[F Float](y, x, w, b []F, n, d int, eps float64) {
	for i := range n {
		row := x[i*d : (i+1)*d]
		var mean, variance F
		for _, v := range row {
			mean += v / F(d)
		}
		for _, v := range row {
			variance += (v - mean) * (v - mean) / F(d)
		}
		for j, v := range row {
			y[i*d+j] = (v-mean)/F(math.Sqrt(float64(variance)+eps))*w[j] + b[j]
		}
	}
}

// QuickGELU: z / (1 + exp(-1.702 z)).
func QuickGELU[F Float](z F) F { return z / (1 + exp(-1.702*z)) }

// GELU: z/2 (1 + erf(z / sqrt 2)).
func GELU[F Float](z F) F { return z / 2 * F(1+math.Erf(float64(z)/math.Sqrt2)) }

// GELUTanh: z/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))).
func GELUTanh[F Float](z F) F {
	return z / 2 * F(1+math.Tanh(math.Sqrt(2/math.Pi)*float64(z+0.044715*z*z*z)))
}

// BidirectionalAttention: a[i,h] = sum_t softmax_t(q[i,h] . k[t,h] / sqrt(dh)) v[t,h] over
// all rows t.   a, q, k, v [n, heads*dh]
func BidirectionalAttention[F Float](a, q, k, v []F, n, heads, dh int) {
	c := heads * dh
	for i := range n {
		for h := range heads {
			z := make([]F, n)
			top, sum := F(math.Inf(-1)), F(0)
			for t := range z {
				for j := h * dh; j < (h+1)*dh; j++ {
					z[t] += q[i*c+j] * k[t*c+j] / F(math.Sqrt(float64(dh)))
				}
				top = max(top, z[t])
			}
			for t := range z {
				z[t] = exp(z[t] - top)
				sum += z[t]
			}
			out := a[i*c+h*dh : i*c+(h+1)*dh]
			clear(out)
			for t, p := range z {
				for j := range out {
					out[j] += p / sum * v[t*c+h*dh+j]
				}
			}
		}
	}
}
