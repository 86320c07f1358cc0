package cpu

import "math"

// Exp32 is exp in float32, to about one unit in the last place: x = n ln 2 + r,
// |r| <= ln 2 / 2, and a polynomial in r (Cephes, expf). Arguments below -87.3 give
// at most 1.3e-38, those above 88.3 as much as 88.3.
func Exp32(x float32) float32 {
	if x < -87.3 {
		x = -87.3
	} else if x > 88.3 {
		x = 88.3
	}
	f := float32(math.RoundToEven(float64(x * 1.44269504)))
	if f != f {
		return f
	}
	r := x - f*0.693359375 + f*2.12194440e-4
	p := ((((1.9875691500e-4*r+1.3981999507e-3)*r+8.3334519073e-3)*r+4.1665795894e-2)*r+1.6666665459e-1)*r + 5.0000001201e-1
	return (p*r*r + r + 1) * math.Float32frombits(uint32(int32(f)+127)<<23)
}

// expBlock is how many elements the processor's version takes at a time.
const expBlock = 8

// ExpScaled: y[i] = exp(x[i]*scale - shift), see Exp32; y may be x. The last elements,
// fewer than a block, go as a whole one, so that an element's bits do not depend on
// where it stands.   x, y [n]
func (s Set) ExpScaled(y, x []float32, scale, shift float32) {
	y = y[:len(x)]
	if s == Generic {
		for i, v := range x {
			y[i] = Exp32(v*scale - shift)
		}
		return
	}
	n := s.block(x)
	if n > 0 {
		expScaledBlocks(y[:n], x[:n], scale, shift)
	}
	if n < len(x) {
		var last [expBlock]float32
		copy(last[:], x[n:])
		expScaledBlocks(last[:], last[:], scale, shift)
		copy(y[n:], last[:])
	}
}

// SiluMul: y = silu(g) u, silu(z) = z/(1+exp(-z)).   y, g, u [n]; y may be g or u
func (s Set) SiluMul(y, g, u []float32) {
	var e [activationBlock]float32
	for len(g) > 0 {
		n := min(len(g), len(e))
		s.ExpScaled(e[:n], g[:n], -1, 0)
		s.gate(y[:n], g[:n], e[:n], u[:n])
		y, g, u = y[n:], g[n:], u[n:]
	}
}

// activationBlock is how many elements are computed at a time: a multiple of expBlock.
const activationBlock = 64

var ones = func() (x [activationBlock]float32) {
	for i := range x {
		x[i] = 1
	}
	return x
}()

// gate: y = g / (1+e) u.
func (s Set) gate(y, g, e, u []float32) {
	done := s.block(g)
	if done > 0 {
		gateBlocks(y[:done], g[:done], e[:done], u[:done])
	}
	for i := done; i < len(g); i++ {
		y[i] = g[i] / (1 + e[i]) * u[i]
	}
}

// QuickGELU: y = y/(1+exp(-1.702 y)).   y [n]
func (s Set) QuickGELU(y []float32) {
	var e [activationBlock]float32
	for len(y) > 0 {
		n := min(len(y), len(e))
		s.ExpScaled(e[:n], y[:n], -1.702, 0)
		s.gate(y[:n], y[:n], e[:n], ones[:n])
		y = y[n:]
	}
}

// GELU: y = y/2 (1 + erf(y / sqrt 2)). The complement of erf is a polynomial of 1/(1 + p x)
// times exp(-x^2), x = |y| / sqrt 2, to 1.5e-7: Abramowitz and Stegun 7.1.26.   y [n]
func (s Set) GELU(y []float32) {
	var e [activationBlock]float32
	for len(y) > 0 {
		n := min(len(y), len(e))
		for i, v := range y[:n] {
			e[i] = v * v
		}
		s.ExpScaled(e[:n], e[:n], -0.5, 0)
		for i, v := range y[:n] {
			x := float32(math.Abs(float64(v)))
			t := 1 / (1 + 0.3275911/math.Sqrt2*x)
			p := ((((1.061405429*t-1.453152027)*t+1.421413741)*t-0.284496736)*t + 0.254829592) * t
			y[i] = max(v, 0) - x/2*p*e[i]
		}
		y = y[n:]
	}
}
