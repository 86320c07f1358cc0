package refit

import (
	"fmt"
	"runtime"
	"slices"
	"sync"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/mat"
)

// FactorDamping is the damping of a Factor, in units of the median of the second moments'
// diagonal. A few massive activations, which some layers have, do not change the median.
const FactorDamping = 0.03

// Factor is a matrix with the second moments of its inputs, prepared so that the refit of
// any number of kept columns is cheap. The columns are in the order of their importance,
// and a refit keeps the first k of them. With C + damping d I = L L^T in that order,
// C_rk C_kk^-1 = L_rk L_kk^-1, and so the refitted matrix is
//
//	W'_k = (W L)_k L_kk^-1
type Factor struct {
	rows, cols int
	order      []int // columns, the most important first
	lower      blas64.Triangular
	product    blas64.General // W L, [rows, cols]
}

// NewFactor factorizes the moments c [cols, cols] of a matrix w [rows, cols].
func NewFactor(w []float32, rows int, order []int, c []float64) (*Factor, error) {
	n := len(order)
	if len(w) != rows*n || len(c) != n*n {
		return nil, fmt.Errorf("refit: want a matrix [%d %d] and moments [%d %d], got %d and %d numbers", rows, n, n, n, len(w), len(c))
	}
	sym := mat.NewSymDense(n, nil)
	diagonal := make([]float64, n)
	for i, p := range order {
		diagonal[i] = c[p*n+p]
		for j := i; j < n; j++ {
			sym.SetSym(i, j, c[p*n+order[j]])
		}
	}
	slices.Sort(diagonal)
	unit := diagonal[n/2]
	if unit == 0 {
		unit = max(diagonal[n-1], 1) // most inputs were never active
	}
	for i := range n {
		sym.SetSym(i, i, sym.At(i, i)+FactorDamping*unit)
	}
	var chol mat.Cholesky
	if !chol.Factorize(sym) {
		return nil, fmt.Errorf("refit: second moments of %d columns: not positive definite", n)
	}
	lower := mat.NewTriDense(n, mat.Lower, nil)
	chol.LTo(lower)
	f := &Factor{rows: rows, cols: n, order: order, lower: lower.RawTriangular()}
	f.product = blas64.General{Rows: rows, Cols: n, Stride: n, Data: make([]float64, rows*n)}
	for i := range rows {
		for j, p := range order {
			f.product.Data[i*n+j] = float64(w[i*n+p])
		}
	}
	f.eachPart(f.product, func(part blas64.General) { blas64.Trmm(blas.Right, blas.NoTrans, 1, f.lower, part) })
	return f, nil
}

// Keep returns the refitted matrix [rows, k] of the k most important columns. They stand in
// the ascending order of their indices.
func (f *Factor) Keep(k int) []float32 {
	out := make([]float32, f.rows*k)
	if k == 0 {
		return out
	}
	x := blas64.General{Rows: f.rows, Cols: k, Stride: k, Data: make([]float64, f.rows*k)}
	for i := range f.rows {
		copy(x.Data[i*k:(i+1)*k], f.product.Data[i*f.cols:])
	}
	leading := f.lower
	leading.N = k
	f.eachPart(x, func(part blas64.General) { blas64.Trsm(blas.Right, blas.NoTrans, 1, leading, part) })
	at := make([]int, f.cols) // index -> position in the order, from 1
	for j, p := range f.order[:k] {
		at[p] = j + 1
	}
	column := 0
	for _, j := range at {
		if j == 0 {
			continue
		}
		for i := range f.rows {
			out[i*k+column] = float32(x.Data[i*k+j-1])
		}
		column++
	}
	return out
}

// eachPart calls f for groups of rows at the same time. A row's numbers do not depend on
// the groups.
func (f *Factor) eachPart(x blas64.General, do func(part blas64.General)) {
	parts := min(runtime.GOMAXPROCS(0), x.Rows)
	var wait sync.WaitGroup
	for p := range parts {
		lo, hi := x.Rows*p/parts, x.Rows*(p+1)/parts
		part := x
		part.Rows, part.Data = hi-lo, x.Data[lo*x.Stride:]
		wait.Go(func() { do(part) })
	}
	wait.Wait()
}
