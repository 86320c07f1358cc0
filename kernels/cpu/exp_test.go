package cpu

import (
	"math"
	"testing"
)

// Every set's exp is right to rounding, wherever an element stands.
func TestExps(t *testing.T) {
	var x []float32
	for v := -87.0; v < 88.2; v += 0.0137 {
		x = append(x, float32(v))
	}
	for _, s := range sets() {
		name, f := s.String(), s.ExpScaled
		for _, n := range []int{1, 7, 8, 9, len(x)} {
			y := make([]float32, n+1)
			y[n] = 3
			f(y, x[:n], 0.5, -2)
			for i := range n {
				want := math.Exp(float64(x[i])*0.5 + 2)
				if got := float64(y[i]); !(math.Abs(got-want) <= 2e-6*want) { // the argument's own rounding is most of it
					t.Fatalf("%s: exp(%v/2 + 2): want %v, got %v", name, x[i], want, got)
				}
			}
			if y[n] != 3 {
				t.Errorf("%s: wrote behind the end", name)
			}
		}
		y := []float32{0, -1000, 1000, float32(math.NaN()), float32(math.Inf(-1)), -87.2, 1, 2}
		f(y, y, 1, 0)
		if y[0] != 1 || !(y[1] < 2e-38) || !(y[2] > 1e38) || y[3] == y[3] || !(y[4] < 2e-38) || !(y[5] > 0) {
			t.Errorf("%s: the ends of exp: %v", name, y)
		}
	}
}

// Generic computes the same bits as plain Go, also where the processor has vector instructions.
func TestExpsGeneric(t *testing.T) {
	x := make([]float32, 1001)
	for i := range x {
		x[i] = float32(i)*0.17 - 85
	}
	y := make([]float32, len(x))
	Generic.ExpScaled(y, x, 1, 0)
	for i, v := range x {
		if want := Exp32(v); y[i] != want {
			t.Fatalf("exp(%v): want %v, got %v", v, want, y[i])
		}
	}
}

func BenchmarkExps(b *testing.B) {
	x := make([]float32, 1024)
	for b.Loop() {
		best().ExpScaled(x, x, 0, 0)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/exp")
}

// The activations are right to 4e-7 of the number, or 1.2e-7 near 0, and to half of x times
// 1.5e-7 for GELU, the error of the polynomial for erf. They write nothing behind the end.
func TestActivations(t *testing.T) {
	var x []float32
	for v := -30.0; v < 30; v += 0.00317 {
		x = append(x, float32(v))
	}
	for _, s := range sets() {
		for _, c := range []struct {
			name  string
			f     func([]float32)
			exact func(float64) float64
			slack float64 // error that the method itself has, as a share of x
		}{
			{"quick_gelu", s.QuickGELU, func(z float64) float64 { return z / (1 + math.Exp(-1.702*z)) }, 0},
			{"gelu", s.GELU, func(z float64) float64 { return z / 2 * (1 + math.Erf(z/math.Sqrt2)) }, 1.5e-7 / 2},
		} {
			for _, n := range []int{0, 1, 7, 8, 65, len(x)} {
				y := append([]float32(nil), x...)
				c.f(y[:n])
				for i, v := range y {
					want := float64(x[i])
					if i < n {
						want = c.exact(want)
					}
					limit := 4e-7*math.Max(math.Abs(want), 0.3) + c.slack*math.Abs(float64(x[i]))
					if d := math.Abs(float64(v) - want); !(d <= limit) || i >= n && d != 0 {
						t.Fatalf("%v: %s(%v), %d of %d: want %v, got %v", s, c.name, x[i], i, n, want, v)
					}
				}
			}
		}
	}
}
