package criterion

import (
	"context"

	"mop/runtime/metric"
)

// cosineHidden is the mean over all positions of the cosine similarity of the last
// hidden states, after the final norm. The highest is the best.
type cosineHidden struct{}

func (cosineHidden) Name() string    { return "cosine-hidden" }
func (cosineHidden) Summary() string { return "the same of the last hidden states" }
func (cosineHidden) Needs() Needs    { return Needs{Reference: true} }

func (cosineHidden) Score(ctx context.Context, c Candidate) (float64, error) {
	var m mean
	err := metric.CompareHidden(ctx, c.Reference, c.Model, c.Windows, c.Prefixes, m.add)
	return m.value(), err
}

func (cosineHidden) Better(a, b float64) bool { return a > b }
