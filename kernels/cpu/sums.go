package cpu

import "math"

// SumAbs is sum_i |x[i]|.   x [n]
func (s Set) SumAbs(x []float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += math.Abs(float64(v))
	}
	return sum
}
