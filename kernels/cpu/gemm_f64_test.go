package cpu

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestTileF64(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	random := func(n int) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = r.NormFloat64()
		}
		return x
	}
	const ldc = TileF64Columns + 3
	for _, s := range sets() {
		for _, k := range []int{0, 1, 2, 7, 256} {
			a, b := random(k*TileF64Rows), random(k*TileF64Columns)
			c := random(TileF64Rows * ldc)
			want := make([]float64, len(c))
			for i := range TileF64Rows {
				for j := range ldc {
					want[i*ldc+j] = c[i*ldc+j]
					for p := 0; p < k && j < TileF64Columns; p++ {
						want[i*ldc+j] += a[p*TileF64Rows+i] * b[p*TileF64Columns+j]
					}
				}
			}
			s.TileF64(c[:len(c)-3], ldc, a, b, k)
			for i := range c {
				if math.Abs(c[i]-want[i]) > 1e-13*float64(k+1) || i%ldc >= TileF64Columns && c[i] != want[i] {
					t.Fatalf("%v, k %d, row %d, column %d: want %v, got %v", s, k, i/ldc, i%ldc, want[i], c[i])
				}
			}
		}
	}
}

func BenchmarkTileF64(b *testing.B) {
	const k = 256
	x, y, c := make([]float64, k*TileF64Rows), make([]float64, k*TileF64Columns), make([]float64, TileF64Rows*TileF64Columns)
	s := best()
	for b.Loop() {
		s.TileF64(c, TileF64Columns, x, y, k)
	}
	b.ReportMetric(2*k*TileF64Rows*TileF64Columns*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
