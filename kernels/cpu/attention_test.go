package cpu

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// Scores and weighted sums of 16-bit keys and values have the bits of the same numbers in
// float32, for any number of queries and of keys, and are the formula's.
func TestAttentionKernels(t *testing.T) {
	for _, s := range sets() {
		for _, n := range []int{16, 32, 48, 64, 80, 128} {
			for _, count := range []int{1, 2, 5, 12, 13, 64, 255} {
				for v := 1; v <= 4; v++ {
					checkAttention(t, s, n, count, v)
				}
			}
		}
	}
}

func checkAttention(t *testing.T, s Set, n, count, v int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(n), uint64(count)))
	ld := max(count, MinKeys)
	q, p := make([]float32, 4*n), make([]float32, v*ld)
	for i := range q {
		q[i] = float32(rng.NormFloat64())
	}
	for i := range p {
		p[i] = rng.Float32()
	}
	for ty := range I8 {
		raw, values := row(rng, ty, n*ld)
		wide := make([]float32, len(values))
		for i, x := range values {
			wide[i] = float32(x)
		}
		z, y := make([]float32, 4*ld), make([]float32, v*n+1)
		want, wantY := make([]float32, 4*ld), make([]float32, v*n)
		y[v*n] = 7
		at := unsafe.Pointer(&raw[0])
		s.QueryScores(ty, z, ld, at, count, q, v, n, 0, 0)
		s.WeightedSums(ty, y, n, p, ld, at, count, v, n, 0, 0)
		s.QueryScores(F32, want, ld, unsafe.Pointer(&wide[0]), count, q, v, n, 0, 0)
		s.WeightedSums(F32, wantY, n, p, ld, unsafe.Pointer(&wide[0]), count, v, n, 0, 0)
		if y[v*n] != 7 {
			t.Fatalf("%v type %d n %d: written beyond the sums", s, ty, n)
		}
		for h := range v {
			for i := range count {
				if g, w := z[h*ld+i], want[h*ld+i]; math.Float32bits(g) != math.Float32bits(w) {
					t.Fatalf("%v type %d n %d, %d keys, query %d of %d: want score %v as in float32, got %v", s, ty, n, count, h, v, w, g)
				}
				sum, size := 0.0, 0.0
				for j := range n {
					x := float64(q[h*n+j]) * values[i*n+j]
					sum, size = sum+x, size+math.Abs(x)
				}
				if e := math.Abs(float64(z[h*ld+i]) - sum); !(e <= tolerance(n, size)) {
					t.Fatalf("%v type %d n %d, %d keys, query %d of %d: want score %v, got %v", s, ty, n, count, h, v, sum, z[h*ld+i])
				}
			}
			for j := range n {
				if g, w := y[h*n+j], wantY[h*n+j]; math.Float32bits(g) != math.Float32bits(w) {
					t.Fatalf("%v type %d n %d, %d values, query %d of %d: want sum %v as in float32, got %v", s, ty, n, count, h, v, w, g)
				}
				sum, size := 0.0, 0.0
				for i := range count {
					x := float64(p[h*ld+i]) * values[i*n+j]
					sum, size = sum+x, size+math.Abs(x)
				}
				if e := math.Abs(float64(y[h*n+j]) - sum); !(e <= tolerance(count, size)) {
					t.Fatalf("%v type %d n %d, %d values, query %d of %d: want sum %v, got %v", s, ty, n, count, h, v, sum, y[h*n+j])
				}
			}
		}
	}
}
