package criterion

import (
	"context"

	"mop/runtime/device"
	"mop/runtime/metric"
)

// kl is the mean over all positions of KL(softmax of the reference's logits || softmax
// of the candidate's logits), in nats. The lowest is the best.
type kl struct{}

func (kl) Name() string    { return "kl" }
func (kl) Summary() string { return "KL divergence from the unpruned model" }
func (kl) Needs() Needs    { return Needs{Reference: true} }

func (kl) Score(ctx context.Context, c Candidate) (float64, error) {
	var m mean
	err := metric.CompareLogits(ctx, c.Reference, c.Model, c.Windows, c.Prefixes, func(d device.Divergence) { m.add(d.KL) })
	return m.value(), err
}

func (kl) Better(a, b float64) bool { return a < b }
