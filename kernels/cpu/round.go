package cpu

import "math"

// ToBF16 is the bfloat16 nearest to x, the even one of two; what is no number
// stays none.
func ToBF16(x float32) uint16 {
	b := math.Float32bits(x)
	if x != x {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// RoundBF16 rounds x to dst.   dst, x [n]
func (s Set) RoundBF16(dst []uint16, x []float32) {
	dst = dst[:len(x)]
	n := s.roundBF16(dst, x)
	for i, v := range x[n:] {
		dst[n+i] = ToBF16(v)
	}
}

// Round puts the bfloat16 nearest to each of x in its place.   x [n]
func (s Set) Round(x []float32) {
	var tmp [512]uint16
	for len(x) > 0 {
		n := min(len(x), len(tmp))
		s.RoundBF16(tmp[:n], x[:n])
		s.WidenBF16(x[:n], tmp[:n])
		x = x[n:]
	}
}
