package refit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
	"gonum.org/v1/gonum/mat"

	kernel "mop/kernels/cpu"
)

var sides = map[string]blas.Side{"left": blas.Left, "right": blas.Right}
var triangles = map[string]blas.Uplo{"upper": blas.Upper, "lower": blas.Lower}
var transposes = map[string]blas.Transpose{"a": blas.NoTrans, "a^T": blas.Trans}

func randomMatrix(r *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = r.NormFloat64()
	}
	return x
}

// near compares matrices that differ by the order of sums of k terms.
func near(t *testing.T, what string, want, got []float64, k int) {
	t.Helper()
	largest := 0.0
	for _, x := range want {
		largest = max(largest, math.Abs(x))
	}
	for i := range want {
		if d := math.Abs(want[i] - got[i]); !(d <= 1e-13*float64(k)*largest) {
			t.Fatalf("%s: element %d: want %v, got %v", what, i, want[i], got[i])
		}
	}
}

// The operations of tiledBLAS agree with gonum's, for sizes that are no multiples of a tile or
// a block.
func TestBLAS(t *testing.T) {
	for _, name := range []string{"generic", "auto"} {
		set, err := kernel.Choose(name)
		if err != nil {
			t.Fatal(err)
		}
		tiled, want := tiledBLAS{set: set}, gonum.Implementation{}
		r := rand.New(rand.NewPCG(5, 6))
		for _, size := range [][3]int{{70, 39, 300}, {1, 200, 200}, {131, 12, 64}, {129, 65, 257}} {
			m, n, k := size[0], size[1], size[2]
			a, b, c := randomMatrix(r, m*k+7*max(m, k)), randomMatrix(r, k*n+7*max(k, n)), randomMatrix(r, m*(n+3))
			for nameA, tA := range transposes {
				for nameB, tB := range transposes {
					for _, f := range [][2]float64{{1, 0}, {-1, 1}, {2, 0.5}} {
						lda, ldb := k+1, n+1
						if tA == blas.Trans {
							lda = m + 1
						}
						if tB == blas.Trans {
							ldb = k + 1
						}
						x, y := append([]float64{}, c...), append([]float64{}, c...)
						want.Dgemm(tA, tB, m, n, k, f[0], a, lda, b, ldb, f[1], x, n+3)
						tiled.Dgemm(tA, tB, m, n, k, f[0], a, lda, b, ldb, f[1], y, n+3)
						near(t, fmt.Sprint(name, " Dgemm ", nameA, nameB, size, f), x, y, k)
					}
				}
			}
		}
		for _, size := range [][2]int{{200, 37}, {65, 130}, {301, 300}} {
			for nameS, side := range sides {
				for nameU, uplo := range triangles {
					for nameA, tA := range transposes {
						n, m := size[0], size[1]
						rows, columns := n, m
						if side == blas.Right {
							rows, columns = m, n
						}
						a, b := randomMatrix(r, n*(n+2)), randomMatrix(r, rows*(columns+1))
						for i := range n { // well conditioned
							for j := range n {
								a[i*(n+2)+j] /= float64(n)
							}
							a[i*(n+2)+i] = 1 + float64(i%3)
						}
						what := fmt.Sprint(name, " ", nameS, nameU, nameA, size)
						for _, alpha := range []float64{1, -2} {
							x, y := append([]float64{}, b...), append([]float64{}, b...)
							want.Dtrsm(side, uplo, tA, blas.NonUnit, rows, columns, alpha, a, n+2, x, columns+1)
							tiled.Dtrsm(side, uplo, tA, blas.NonUnit, rows, columns, alpha, a, n+2, y, columns+1)
							near(t, "Dtrsm "+what, x, y, n)
							x, y = append([]float64{}, b...), append([]float64{}, b...)
							want.Dtrmm(side, uplo, tA, blas.NonUnit, rows, columns, alpha, a, n+2, x, columns+1)
							tiled.Dtrmm(side, uplo, tA, blas.NonUnit, rows, columns, alpha, a, n+2, y, columns+1)
							near(t, "Dtrmm "+what, x, y, n)
						}
					}
				}
			}
		}
	}
}

// BenchmarkCholesky decomposes the moments of one layer of SmolLM2-135M.
func BenchmarkCholesky(b *testing.B) {
	const n = 1536
	r := rand.New(rand.NewPCG(7, 8))
	c := mat.NewSymDense(n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			c.SetSym(i, j, r.NormFloat64()/n)
		}
		c.SetSym(i, i, 2)
	}
	for b.Loop() {
		var chol mat.Cholesky
		if !chol.Factorize(c) {
			b.Fatal("not positive definite")
		}
	}
	b.ReportMetric(float64(n)*n*n/3*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
