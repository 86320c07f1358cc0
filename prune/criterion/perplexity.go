package criterion

import (
	"context"
	"math"

	"mop/runtime/metric"
)

// perplexity is exp of the mean next-token negative log-likelihood. The lowest is the
// best. It needs no reference.
type perplexity struct{}

func (perplexity) Name() string    { return "ppl" }
func (perplexity) Summary() string { return "perplexity" }
func (perplexity) Needs() Needs    { return Needs{} }

func (perplexity) Score(ctx context.Context, c Candidate) (float64, error) {
	var m mean
	err := metric.NLL(ctx, c.Model, c.Windows, c.Prefixes, func(_ int, nll float64) { m.add(nll) })
	return math.Exp(m.value()), err
}

func (perplexity) Better(a, b float64) bool { return a < b }
