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

// Exps: y[i] = exp(x[i]*scale - shift), see Exp32; y may be x. The last elements,
// fewer than a block, go as a whole one, so that an element's bits do not depend on
// where it stands.   x, y [n]
func (s Set) Exps(y, x []float32, scale, shift float32) {
	y = y[:len(x)]
	if s == Generic {
		for i, v := range x {
			y[i] = Exp32(v*scale - shift)
		}
		return
	}
	n := s.block(x)
	if n > 0 {
		expBlocks(y[:n], x[:n], scale, shift)
	}
	if n < len(x) {
		var last [expBlock]float32
		copy(last[:], x[n:])
		expBlocks(last[:], last[:], scale, shift)
		copy(y[n:], last[:])
	}
}
