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

// FromBF16 widens a bfloat16, exactly.
func FromBF16(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// FromF16 widens an IEEE half, exactly: the product with 2^112 moves the exponent's
// bias and normalises subnormals; infinities and NaNs keep their class.
func FromF16(h uint16) float32 {
	sign, rest := uint32(h&0x8000)<<16, uint32(h&0x7fff)<<13
	if rest >= 0x7c00<<13 {
		return math.Float32frombits(sign | 0x7f800000 | rest&0x007fffff)
	}
	f := math.Float32frombits(rest) * 0x1p112
	return math.Float32frombits(sign | math.Float32bits(f))
}

// ToF16 is the IEEE half nearest to x, the even one of two. A number that is too large
// becomes the largest half, 65504, and a NaN stays one.
func ToF16(x float32) uint16 {
	b := math.Float32bits(x)
	sign, rest := uint16(b>>16&0x8000), b&0x7fffffff
	switch {
	case rest > 0x7f800000:
		return sign | 0x7e00
	case rest >= 0x477ff000: // 65520 would be rounded to infinity
		return sign | 0x7bff
	case rest < 0x38800000: // subnormal: the sum with 2^-1 has its last bit at 2^-24
		f := math.Float32frombits(rest) + 0.5
		return sign | uint16(math.Float32bits(f)-0x3f000000)
	}
	rest += 0xfff + rest>>13&1 - 112<<23
	return sign | uint16(rest>>13)
}

// NarrowF16 rounds x to dst.   dst, x [n]
func (s Set) NarrowF16(dst []uint16, x []float32) {
	dst = dst[:len(x)]
	n := s.narrowF16(dst, x)
	for i, v := range x[n:] {
		dst[n+i] = ToF16(v)
	}
}

// WidenBF16 widens w to dst.   dst, w [n]
func (s Set) WidenBF16(dst []float32, w []uint16) {
	dst = dst[:len(w)]
	n := s.widenBF16(dst, w)
	for i, b := range w[n:] {
		dst[n+i] = FromBF16(b)
	}
}

// WidenF16 widens w to dst.   dst, w [n]
func (s Set) WidenF16(dst []float32, w []uint16) {
	dst = dst[:len(w)]
	n := s.widenF16(dst, w)
	for i, h := range w[n:] {
		dst[n+i] = FromF16(h)
	}
}

// WidenI8 scales w to dst.   dst, w [n]
func (s Set) WidenI8(dst []float32, w []int8, scale float32) {
	dst = dst[:len(w)]
	n := s.widenI8(dst, w, scale)
	for i, q := range w[n:] {
		dst[n+i] = float32(q) * scale
	}
}
