package refit

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Dampings are the choices, in units of the mean of C_kk's diagonal. None is no refit.
func Dampings() []float64 { return []float64{1e-3, 1e-2, 1e-1, 1, None} }

// None is the damping that leaves the weights as they are.
var None = math.Inf(1)

// Fit is what was chosen for one matrix.
type Fit struct {
	Damping float64 // None = not refitted
	// Error is the share of the dense output's mean square that is missing on the held-out
	// text, without a refit and with the one that was chosen.
	Before, After float64
}

// Solve refits a matrix w [rows, cols], of whose columns the given ones are kept, and
// returns the new ones [rows, len(keep)].
func Solve(w []float32, rows int, keep []int, m *Moments) ([]float32, Fit, error) {
	cols := len(w) / rows
	if len(m.Fit) != cols*cols || len(m.Held) != cols*cols {
		return nil, Fit{}, fmt.Errorf("moments: want [%d %d], got %d and %d numbers", cols, cols, len(m.Fit), len(m.Held))
	}
	s := newSystem(w, rows, keep)
	best := Fit{Damping: None}
	base := s.energy(m.Held)
	if base == 0 {
		return s.kept(nil), best, nil
	}
	best.Before = s.missing(nil, m.Held) / base
	best.After = best.Before
	for _, damping := range Dampings() {
		if damping == None {
			continue
		}
		delta, err := s.delta(m.Fit, damping)
		if err != nil {
			continue // singular at this damping: a larger one is not
		}
		if e := s.missing(delta, m.Held) / base; e < best.After {
			best.Damping, best.After = damping, e
		}
	}
	if best.Damping == None {
		return s.kept(nil), best, nil
	}
	// The damping is chosen: the weights may use all the text.
	delta, err := s.delta(m.All(), best.Damping)
	if err != nil {
		return nil, best, err
	}
	return s.kept(delta), best, nil
}

// system is a matrix whose columns are kept or removed.
type system struct {
	rows, cols    int
	keep, removed []int
	wk, wr        *mat.Dense // [rows, kept], [rows, removed]
}

func newSystem(w []float32, rows int, keep []int) *system {
	s := &system{rows: rows, cols: len(w) / rows, keep: keep}
	kept := make([]bool, s.cols)
	for _, j := range keep {
		kept[j] = true
	}
	for j, k := range kept {
		if !k {
			s.removed = append(s.removed, j)
		}
	}
	pick := func(columns []int) *mat.Dense {
		if len(columns) == 0 {
			return &mat.Dense{}
		}
		out := mat.NewDense(rows, len(columns), nil)
		for i := range rows {
			for c, j := range columns {
				out.Set(i, c, float64(w[i*s.cols+j]))
			}
		}
		return out
	}
	s.wk, s.wr = pick(keep), pick(s.removed)
	return s
}

// block is C[a, b].
func (s *system) block(c []float64, a, b []int) *mat.Dense {
	out := mat.NewDense(len(a), len(b), nil)
	for i, p := range a {
		row := out.RawRowView(i)
		for j, q := range b {
			row[j] = c[p*s.cols+q]
		}
	}
	return out
}

// delta is W_r C_rk (C_kk + damping d I)^-1, what is added to the kept columns.
func (s *system) delta(c []float64, damping float64) (*mat.Dense, error) {
	k := len(s.keep)
	kk := mat.NewSymDense(k, nil)
	mean := 0.0
	for i, p := range s.keep {
		mean += c[p*s.cols+p] / float64(k)
		for j := i; j < k; j++ {
			kk.SetSym(i, j, c[p*s.cols+s.keep[j]])
		}
	}
	for i := range k {
		kk.SetSym(i, i, kk.At(i, i)+damping*mean)
	}
	var chol mat.Cholesky
	if !chol.Factorize(kk) {
		return nil, fmt.Errorf("second moments of %d columns: not positive definite", k)
	}
	var right, solution mat.Dense // [kept, rows] each
	right.Mul(s.block(c, s.keep, s.removed), s.wr.T())
	if err := chol.SolveTo(&solution, &right); err != nil {
		return nil, err
	}
	return mat.DenseCopyOf(solution.T()), nil
}

// missing is the squared error of the outputs, tr(E C E^T), with E the removed columns of W
// and, with the other sign, what the kept ones gained.
func (s *system) missing(delta *mat.Dense, c []float64) float64 {
	sum := quadratic(s.wr, s.block(c, s.removed, s.removed))
	if delta == nil {
		return sum
	}
	var cross mat.Dense
	cross.Mul(s.wr, s.block(c, s.removed, s.keep))
	return sum - 2*dot(&cross, delta) + quadratic(delta, s.block(c, s.keep, s.keep))
}

// energy is tr(W C W^T), the squared dense output.
func (s *system) energy(c []float64) float64 {
	sum := quadratic(s.wr, s.block(c, s.removed, s.removed)) + quadratic(s.wk, s.block(c, s.keep, s.keep))
	var cross mat.Dense
	cross.Mul(s.wr, s.block(c, s.removed, s.keep))
	return sum + 2*dot(&cross, s.wk)
}

// quadratic is tr(a c a^T).
func quadratic(a, c *mat.Dense) float64 {
	var ac mat.Dense
	ac.Mul(a, c)
	return dot(&ac, a)
}

func dot(a, b *mat.Dense) float64 {
	sum := 0.0
	rows, _ := a.Dims()
	for i := range rows {
		x, y := a.RawRowView(i), b.RawRowView(i)
		for j := range x {
			sum += float64(x[j] * y[j])
		}
	}
	return sum
}

// kept is the kept columns plus delta, [rows, kept].
func (s *system) kept(delta *mat.Dense) []float32 {
	out := make([]float32, 0, s.rows*len(s.keep))
	for i := range s.rows {
		for j := range s.keep {
			x := s.wk.At(i, j)
			if delta != nil {
				x += delta.At(i, j)
			}
			out = append(out, float32(x))
		}
	}
	return out
}
