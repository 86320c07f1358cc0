package cpu

import "math"

// OctetSize is how many heads an octet has, and how many columns each of them.
const OctetSize = 8

// Octet is attention over T positions for eight heads of eight columns, each with keys
// and values of its own, side by side: of every head, z[t] = q . k[t]; top, the largest
// scale*z[t]; y = sum_t exp(scale*z[t] - top) v[t]; and sum, that of the exponentials.
// Heads so thin cost more by themselves, one by one, than their keys and values do.
// y, q [8, 8]; top, sum [8]; z [T, 8], storage; k, v [T, 8*8], rows stride apart
func (s Set) Octet(y, q *[64]float32, top, sum *[8]float32, z, k, v []float32, stride int, scale float32) {
	T := len(z) / OctetSize
	if T == 0 {
		return
	}
	last := (T-1)*stride + len(q) - 1
	k, v = k[:last+1], v[:last+1]
	if s != Generic {
		octet(y, q, top, sum, &z[0], &k[0], &v[0], stride, T, scale)
		return
	}
	for h := range OctetSize {
		at := h * OctetSize
		most := float32(math.Inf(-1))
		for t := range T {
			z[t*OctetSize+h] = Dot(k[t*stride+at:t*stride+at+OctetSize], q[at:at+OctetSize])
			most = max(most, z[t*OctetSize+h])
		}
		top[h], sum[h] = scale*most, 0
		clear(y[at : at+OctetSize])
		for t := range T {
			p := Exp32(z[t*OctetSize+h]*scale - top[h])
			sum[h] += p
			Axpy(y[at:at+OctetSize], p, v[t*stride+at:t*stride+at+OctetSize])
		}
	}
}
