// Package cpu holds the host's inner loops; it knows nothing of models. What flows
// in: slices of numbers, weights in their stored type. What flows out: float32.
//
// Each operation is plain Go, and beside it assembly for the sets that have it.
// Every sum has one order, given by the set and the length alone.
package cpu

// Dot is sum_i w[i] x[i].   w, x [n]
func Dot(w, x []float32) float32 {
	x = x[:len(w)]
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(w); i += 4 {
		a, b := w[i:i+4:i+4], x[i:i+4:i+4]
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
	}
	return finish(w[i:], x[i:], s0, s1, s2, s3)
}

// finish adds a tail of at most three products, each to its lane, and joins the
// lanes.
func finish(w, x []float32, s0, s1, s2, s3 float32) float32 {
	if len(w) > 0 {
		s0 += w[0] * x[0]
	}
	if len(w) > 1 {
		s1 += w[1] * x[1]
	}
	if len(w) > 2 {
		s2 += w[2] * x[2]
	}
	return (s0 + s1) + (s2 + s3)
}

// Axpy adds a*x to y.   x, y [n]
func Axpy(y []float32, a float32, x []float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] += a * v
	}
}
