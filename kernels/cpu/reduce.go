package cpu

import (
	"math"
	"slices"
)

// Max is the largest of x, -Inf where there is none.   x [n]
func (s Set) Max(x []float32) float32 {
	top := float32(math.Inf(-1))
	if n := s.block(x); n > 0 {
		top = maxBlocks(x[:n])
		x = x[n:]
	}
	for _, v := range x {
		top = max(top, v)
	}
	return top
}

// Sum is sum_i x[i].   x [n]
func (s Set) Sum(x []float32) float32 {
	var sum float32
	if n := s.block(x); n > 0 {
		sum = sumBlocks(x[:n])
		x = x[n:]
	}
	for _, v := range x {
		sum += v
	}
	return sum
}

// SumSquares is sum_i x[i]^2.   x [n]
func (s Set) SumSquares(x []float32) float32 {
	n := s.block(x)
	if n == 0 {
		return Dot(x, x)
	}
	return sumSquaresBlocks(x[:n]) + Dot(x[n:], x[n:])
}

// SumAbs is sum_i |x[i]|.   x [n]
func (s Set) SumAbs(x []float32) float64 {
	sum := 0.0
	if n := s.block(x); n > 0 {
		sum = sumAbsBlocks(x[:n])
		x = x[n:]
	}
	for _, v := range x {
		sum += math.Abs(float64(v))
	}
	return sum
}

// ScaleMul: y = x f w.   y, x, w [n]
func (s Set) ScaleMul(y, x []float32, f float32, w []float32) {
	y, w = y[:len(x)], w[:len(x)]
	n := s.block(x)
	if n > 0 {
		scaleMulBlocks(y[:n], x[:n], f, w[:n])
	}
	for i, v := range x[n:] {
		y[n+i] = v * f * w[n+i]
	}
}

// WeightedSum: y = sum_t p[t] v[t*stride : t*stride+len(y)].
func (s Set) WeightedSum(y, p, v []float32, stride int) {
	n := 0
	if len(p) > 0 {
		if n = s.block(y); n > 0 {
			weightedSumBlocks(y[:n], p, v, stride)
		}
	}
	rest := y[n:]
	clear(rest)
	for t, f := range p {
		for i := range rest {
			rest[i] += f * v[t*stride+n+i]
		}
	}
}

// block is how many elements of x go to the processor's version: eight by eight.
func (s Set) block(x []float32) int {
	if s == Generic {
		return 0
	}
	return len(x) &^ 7
}

// Scores: z[t] = q . keys[t*stride : t*stride+len(q)], for each t.   z [T], q [n]
func (s Set) Scores(z, q, keys []float32, stride int) {
	n, T := len(q), len(z)
	if T == 0 || n == 0 {
		clear(z)
		return
	}
	_ = keys[(T-1)*stride+n-1]
	if s == Generic || T < 8 {
		for t := range z {
			z[t] = Dot(keys[t*stride:t*stride+n], q)
		}
		return
	}
	scoreBlocks(z[:T&^7], q, keys, stride)
	if T%8 > 0 { // the last eight once more: a score's bits do not depend on its place
		scoreBlocks(z[T-8:], q, keys[(T-8)*stride:], stride)
	}
}

// Argmax is the index of the largest of x, the first of equals, and whether all of x are finite
// numbers; without it the index means nothing. x has at least one element.
func (s Set) Argmax(x []float32) (best int, finite bool) {
	n := s.block(x)
	top, finite := x[len(x)-1], true
	if n > 0 {
		top, finite = maxFiniteBlocks(x[:n])
	}
	for _, v := range x[n:] {
		top, finite = max(top, v), finite && v-v == 0
	}
	if !finite {
		return 0, false
	}
	return slices.Index(x, top), true
}
