package cpu

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestSums(t *testing.T) {
	for _, s := range sets() {
		for _, n := range append([]int{0}, widths...) {
			rng := rand.New(rand.NewPCG(uint64(n), 7))
			x, w := make([]float32, n), make([]float32, n)
			var sum, abs, squares float64
			top := math.Inf(-1)
			for i := range x {
				x[i], w[i] = float32(rng.NormFloat64())-10, float32(rng.NormFloat64())
				v := float64(x[i])
				sum, abs, squares, top = sum+v, abs+math.Abs(v), squares+v*v, max(top, v)
			}
			near := func(what string, got, want, size float64) {
				if e, tol := math.Abs(got-want), tolerance(n, size); !(e <= tol) && got != want {
					t.Errorf("%v %s of %d: want %v, got %v, %.2f of the tolerance", s, what, n, want, got, e/tol)
				}
			}
			near("sum", float64(s.Sum(x)), sum, abs)
			near("squares", float64(s.SumSquares(x)), squares, squares)
			near("sizes", s.SumAbs(x), abs, abs*1e-7)
			near("max", float64(s.Max(x)), top, 0)
			y := make([]float32, n+1)
			y[n] = 7
			s.ScaleMul(y[:n], x, 0.3, w)
			for i := range x {
				if want := x[i] * 0.3 * w[i]; y[i] != want {
					t.Fatalf("%v scale of %d: element %d: want %v, got %v", s, n, i, want, y[i])
				}
			}
			if y[n] != 7 {
				t.Errorf("%v scale of %d: wrote beyond", s, n)
			}
		}
	}
}

func TestMix(t *testing.T) {
	for _, s := range sets() {
		for _, n := range []int{1, 6, 7, 8, 9, 32, 40, 64, 71, 128} {
			for _, T := range []int{0, 1, 2, 4, 7, 33} {
				rng := rand.New(rand.NewPCG(uint64(n), uint64(T)))
				stride := n + 3
				p, v, y := make([]float32, T), make([]float32, T*stride), make([]float32, n+1)
				for i := range p {
					p[i] = rng.Float32()
				}
				for i := range v {
					v[i] = float32(rng.NormFloat64())
				}
				y[n] = 7
				s.WeightedSum(y[:n], p, v, stride)
				for i := range n {
					want, size := 0.0, 0.0
					for j, f := range p {
						x := float64(f) * float64(v[j*stride+i])
						want, size = want+x, size+math.Abs(x)
					}
					if e, tol := math.Abs(float64(y[i])-want), tolerance(T, size); !(e <= tol) {
						t.Fatalf("%v n %d T %d: element %d: want %v, got %v", s, n, T, i, want, y[i])
					}
				}
				if y[n] != 7 {
					t.Errorf("%v n %d T %d: wrote beyond", s, n, T)
				}
			}
		}
	}
}

// A gate's bits do not depend on where it stands, nor on how it is divided.
func TestSiluMul(t *testing.T) {
	for _, s := range sets() {
		for _, n := range []int{0, 1, 7, 8, 9, 63, 64, 65, 200} {
			g, u, y, e := make([]float32, n), make([]float32, n), make([]float32, n+1), make([]float32, n)
			for i := range g {
				g[i], u[i] = float32(i)*0.37-11, float32(n-i)*0.21
			}
			y[n] = 5
			s.ExpScaled(e, g, -1, 0)
			s.SiluMul(y[:n], g, u)
			for i := range g {
				if want := g[i] / (1 + e[i]) * u[i]; y[i] != want {
					t.Fatalf("%v, %d: element %d: want %v, got %v", s, n, i, want, y[i])
				}
			}
			if y[n] != 5 {
				t.Fatalf("%v, %d: wrote behind its end", s, n)
			}
		}
	}
}

// The largest element is the first of equals, wherever it stands; one that is not finite is found.
func TestArgmax(t *testing.T) {
	for _, s := range sets() {
		for _, n := range []int{1, 7, 8, 9, 16, 33, 100} {
			x := make([]float32, n)
			for at := range n {
				for i := range x {
					x[i] = -3 - float32(i%5)
				}
				x[at], x[n-1-(n-1-at)/2] = -2, -2
				if got, ok := s.Argmax(x); got != at || !ok {
					t.Fatalf("%v n %d: want element %d of finite numbers, got %d, %v", s, n, at, got, ok)
				}
				for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
					x[at] = float32(bad)
					if _, ok := s.Argmax(x); ok {
						t.Fatalf("%v n %d: %v at %d is called finite", s, n, bad, at)
					}
				}
			}
		}
	}
}
