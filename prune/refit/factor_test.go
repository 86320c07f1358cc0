package refit

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// The refit of a Factor is the one that Solve makes with the same damping.
func TestFactorAgainstSolve(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const rows, cols, tokens = 5, 12, 90
	w := make([]float32, rows*cols)
	for i := range w {
		w[i] = float32(r.NormFloat64())
	}
	c := make([]float64, cols*cols)
	x := make([]float64, cols)
	for range tokens {
		common := r.NormFloat64()
		for j := range x {
			x[j] = common + r.NormFloat64()*float64(j+1)
		}
		for i := range x {
			for j := range x {
				c[i*cols+j] += x[i] * x[j]
			}
		}
	}
	order := r.Perm(cols)
	f, err := NewFactor(w, rows, order, c)
	if err != nil {
		t.Fatal(err)
	}
	diagonal := make([]float64, cols)
	for i := range diagonal {
		diagonal[i] = c[i*cols+i]
	}
	slices.Sort(diagonal)
	for k := 1; k <= cols; k++ {
		keep := slices.Sorted(slices.Values(order[:k]))
		s := newSystem(w, rows, keep)
		want := s.kept(nil)
		if k < cols {
			mean := 0.0
			for _, p := range keep {
				mean += c[p*cols+p] / float64(k)
			}
			delta, err := s.delta(c, FactorDamping*diagonal[cols/2]/mean)
			if err != nil {
				t.Fatal(err)
			}
			want = s.kept(delta)
		}
		for i, got := range f.Keep(k) {
			if math.Abs(float64(got-want[i])) > 1e-5 {
				t.Fatalf("%d of %d columns: entry %d: want %v, got %v", k, cols, i, want[i], got)
			}
		}
	}
}
