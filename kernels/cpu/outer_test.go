package cpu

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The processor's version and the plain one agree to rounding, and neither
// writes outside the tile.
func TestOuter(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	random := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		return x
	}
	for _, k := range []int{1, 2, 7, 64, 257} {
		for _, add := range []bool{false, true} {
			const ldc = OuterCols + 3
			a, b, c := random(k*OuterRows), random(k*OuterCols), random(OuterRows*ldc)
			want := append([]float32(nil), c...)
			outer(k, a, b, want, ldc, add)
			Outer(k, a, b, c, ldc, add)
			for i := range c {
				if d := math.Abs(float64(c[i] - want[i])); !(d <= 1e-6*float64(k+4)) || i%ldc >= OuterCols && d != 0 {
					t.Fatalf("k %d, add %v, element %d: want %v, got %v", k, add, i, want[i], c[i])
				}
			}
		}
	}
}
