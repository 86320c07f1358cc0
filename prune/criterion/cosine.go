package criterion

import (
	"context"

	"mop/runtime/device"
	"mop/runtime/metric"
)

// cosine is the mean over all positions of the cosine similarity of the candidate's
// logits and the reference's. The highest is the best.
type cosine struct{}

func (cosine) Name() string    { return "cosine" }
func (cosine) Summary() string { return "cosine similarity of the logits with the unpruned model's" }
func (cosine) Needs() Needs    { return Needs{Reference: true} }

func (cosine) Score(ctx context.Context, c Candidate) (float64, error) {
	var m mean
	err := metric.CompareLogits(ctx, c.Reference, c.Model, c.Windows, c.Prefixes, func(d device.Divergence) { m.add(d.Cosine) })
	return m.value(), err
}

func (cosine) Better(a, b float64) bool { return a > b }
