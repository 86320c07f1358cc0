package method

import (
	"mop/prune/plan"
	"mop/prune/score"
	"mop/runtime/config"
)

// flap is FLAP (arXiv 2312.11983): the heads and neurons whose inputs vary least, compared
// across all layers after they were standardised in each.
type flap struct{}

func (flap) Name() string { return "flap" }
func (flap) Summary() string {
	return "heads and neurons of small fluctuation, compared across layers"
}
func (flap) Uses() Uses                         { return Uses{} }
func (flap) Score(uint64) (score.Method, error) { return score.FLAPStandardised(), nil }

func (flap) Reach(base *config.Config, _ plan.Options) (float64, error) {
	return plan.New(base).AcrossLayersReach(base), nil
}

func (flap) Prune(c *config.Config, _ plan.Options, budget float64, scores *plan.Scores) (plan.State, error) {
	return plan.New(c).PruneAcrossLayers(c.HiddenSize, budget, scores)
}
