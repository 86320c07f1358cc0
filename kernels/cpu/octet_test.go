package cpu

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Every head of an octet is softmax(scale q.k) v of its own columns, whatever the
// others hold.
func TestOctet(t *testing.T) {
	const scale = 0.35
	for _, s := range sets() {
		for _, T := range []int{1, 2, 7, 8, 9, 33, 256} {
			for _, stride := range []int{64, 71, 128} {
				rng := rand.New(rand.NewPCG(uint64(stride), uint64(T)))
				var q, y [64]float32
				var top, sum [8]float32
				k, v, z := make([]float32, (T-1)*stride+64), make([]float32, (T-1)*stride+64), make([]float32, T*8+1)
				for i := range q {
					q[i] = float32(rng.NormFloat64())
				}
				for i := range k {
					k[i], v[i] = float32(rng.NormFloat64()), float32(rng.NormFloat64())
					if i%stride%64/8 == 5 || i%stride >= 64 { // a head that there is not
						k[i], v[i] = float32(math.NaN()), float32(math.Inf(1))
					}
				}
				z[T*8] = 7
				s.Octet(&y, &q, &top, &sum, z[:T*8], k, v, stride, scale)
				for h := range 8 {
					if h == 5 {
						continue
					}
					most, total := math.Inf(-1), 0.0
					scores := make([]float64, T)
					for i := range scores {
						for j := range 8 {
							scores[i] += scale * float64(q[h*8+j]) * float64(k[i*stride+h*8+j])
						}
						most = max(most, scores[i])
					}
					want := make([]float64, 8)
					for i, x := range scores {
						p := math.Exp(x - most)
						total += p
						for j := range want {
							want[j] += p * float64(v[i*stride+h*8+j])
						}
					}
					if math.Abs(float64(top[h])-most) > 1e-5 || math.Abs(float64(sum[h])-total) > 1e-5*total {
						t.Fatalf("%v T %d head %d: want top %v and sum %v, got %v and %v", s, T, h, most, total, top[h], sum[h])
					}
					for j, x := range want {
						if math.Abs(float64(y[h*8+j])-x) > 2e-5*total {
							t.Fatalf("%v T %d head %d: column %d: want %v, got %v", s, T, h, j, x, y[h*8+j])
						}
					}
				}
				if z[T*8] != 7 {
					t.Fatalf("%v T %d: wrote beyond", s, T)
				}
			}
		}
	}
}

func BenchmarkOctet(b *testing.B) {
	const T, stride = 76, 128
	var q, y [64]float32
	var top, sum [8]float32
	k, z := make([]float32, T*stride), make([]float32, T*8)
	for _, s := range sets()[1:] {
		b.Run(s.String(), func(b *testing.B) {
			for b.Loop() {
				s.Octet(&y, &q, &top, &sum, z, k, k, stride, 0.35)
			}
		})
	}
}
