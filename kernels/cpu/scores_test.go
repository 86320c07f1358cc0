package cpu

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestScores(t *testing.T) {
	for _, s := range sets() {
		for _, n := range []int{1, 2, 6, 7, 8, 9, 16, 24, 40, 64, 71, 128} {
			for _, T := range []int{0, 1, 7, 8, 9, 15, 16, 33, 64} {
				rng := rand.New(rand.NewPCG(uint64(n), uint64(T)))
				stride := n + 3
				q, z := make([]float32, n), make([]float32, T+1)
				keys := make([]float32, max(T*stride-3, 0)) // to the last key's last column
				for i := range q {
					q[i] = float32(rng.NormFloat64())
				}
				for i := range keys {
					if keys[i] = float32(math.NaN()); i%stride < n {
						keys[i] = float32(rng.NormFloat64())
					}
				}
				z[T] = 7
				s.Scores(z[:T], q, keys, stride)
				for i := range T {
					want, size := 0.0, 0.0
					for j, v := range q {
						x := float64(v) * float64(keys[i*stride+j])
						want, size = want+x, size+math.Abs(x)
					}
					if e, tol := math.Abs(float64(z[i])-want), tolerance(n, size); !(e <= tol) {
						t.Fatalf("%v n %d T %d: score %d: want %v, got %v", s, n, T, i, want, z[i])
					}
				}
				if z[T] != 7 {
					t.Errorf("%v n %d T %d: wrote beyond", s, n, T)
				}
				if T > 8 {
					part := make([]float32, T-1)
					s.Scores(part, q, keys[stride:], stride)
					for i, v := range part {
						if v != z[i+1] {
							t.Fatalf("%v n %d T %d: score %d: its bits depend on its place", s, n, T, i+1)
						}
					}
				}
			}
		}
	}
}
