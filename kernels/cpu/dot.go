// Package cpu holds the host's inner loops: plain Go, no knowledge of models.
//
// Every dot product here adds in the same order, whatever the weight's type and
// however many vectors share a pass: lane i%4 of four, tail included, then
// (s0+s1)+(s2+s3). Equal numbers in give equal bits out.
package cpu

import "math"

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

// Dot2 is Dot of one w with two vectors; w is loaded once.
func Dot2(w, x, y []float32) (dx, dy float32) {
	x, y = x[:len(w)], y[:len(w)]
	var s0, s1, s2, s3, t0, t1, t2, t3 float32
	i := 0
	for ; i+4 <= len(w); i += 4 {
		a, b, c := w[i:i+4:i+4], x[i:i+4:i+4], y[i:i+4:i+4]
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
		t0 += a[0] * c[0]
		t1 += a[1] * c[1]
		t2 += a[2] * c[2]
		t3 += a[3] * c[3]
	}
	return finish(w[i:], x[i:], s0, s1, s2, s3), finish(w[i:], y[i:], t0, t1, t2, t3)
}

// DotBF16 is Dot for bfloat16 weights.
func DotBF16(w []uint16, x []float32) float32 {
	x = x[:len(w)]
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(w); i += 4 {
		a, b := w[i:i+4:i+4], x[i:i+4:i+4]
		s0 += BF16(a[0]) * b[0]
		s1 += BF16(a[1]) * b[1]
		s2 += BF16(a[2]) * b[2]
		s3 += BF16(a[3]) * b[3]
	}
	var tail [3]float32
	n := WidenBF16(tail[:], w[i:])
	return finish(tail[:n], x[i:], s0, s1, s2, s3)
}

// DotF16 is Dot for float16 weights.
func DotF16(w []uint16, x []float32) float32 {
	x = x[:len(w)]
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(w); i += 4 {
		a, b := w[i:i+4:i+4], x[i:i+4:i+4]
		s0 += F16(a[0]) * b[0]
		s1 += F16(a[1]) * b[1]
		s2 += F16(a[2]) * b[2]
		s3 += F16(a[3]) * b[3]
	}
	var tail [3]float32
	n := WidenF16(tail[:], w[i:])
	return finish(tail[:n], x[i:], s0, s1, s2, s3)
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

// BF16 widens a bfloat16, exactly.
func BF16(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// F16 widens an IEEE half, exactly: the product with 2^112 moves the exponent's
// bias and normalises subnormals; infinities and NaNs keep their class.
func F16(h uint16) float32 {
	sign, rest := uint32(h&0x8000)<<16, uint32(h&0x7fff)<<13
	if rest >= 0x7c00<<13 {
		return math.Float32frombits(sign | 0x7f800000 | rest&0x007fffff)
	}
	f := math.Float32frombits(rest) * 0x1p112
	return math.Float32frombits(sign | math.Float32bits(f))
}

// WidenBF16 widens w to dst and returns the number of elements.
func WidenBF16(dst []float32, w []uint16) int {
	dst = dst[:len(w)]
	for i, b := range w {
		dst[i] = BF16(b)
	}
	return len(w)
}

// WidenF16 widens w to dst and returns the number of elements.
func WidenF16(dst []float32, w []uint16) int {
	dst = dst[:len(w)]
	for i, h := range w {
		dst[i] = F16(h)
	}
	return len(w)
}
