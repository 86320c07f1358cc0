package metric

import (
	"context"
	"math"
	"slices"

	"mop/runtime/dataset"
	"mop/runtime/model"
)

// hiddenRows is how many positions' hidden states are compared at a time.
const hiddenRows = 16

// CompareHidden calls each with the cosine of the last hidden states, after the
// final norm, at every position of every window.
func CompareHidden(ctx context.Context, reference Reference, m *model.Model, windows []dataset.Window, prefixes Prefixes, each func(cosine float64)) error {
	D := m.Config.HiddenSize
	states := make([]float32, hiddenRows*D) // the reference's [hiddenRows, D]
	return forEachPair(ctx, reference, m, windows, prefixes, func(original model.Reference, rows []int) error {
		for part := range slices.Chunk(rows, hiddenRows) {
			if err := original.Hidden(part, func(i int, h []float32) error {
				copy(states[i*D:(i+1)*D], h)
				return nil
			}); err != nil {
				return err
			}
			if err := m.Hidden(part, func(i int, h []float32) error {
				each(cosine(states[i*D:(i+1)*D], h))
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// cosine returns p.q / (|p| |q|).
func cosine(p, q []float32) float64 {
	var pp, qq, pq float64
	for j, x := range p {
		a, b := float64(x), float64(q[j])
		pp, qq, pq = pp+a*a, qq+b*b, pq+a*b
	}
	return pq / math.Sqrt(pp*qq)
}
