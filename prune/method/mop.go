package method

import (
	"context"

	"mop/prune/plan"
	"mop/runtime/config"
)

// mop is MoP (arXiv 2602.06127): at every step the better one of a depth step and a width
// step, by the criterion of the options.
type mop struct{}

func (mop) Name() string    { return "mop" }
func (mop) Summary() string { return "depth and width steps, chosen by the criterion" }
func (mop) Uses() Uses      { return Uses{Criterion: true, Scores: true, Rule: true, Windows: 32} }
func (mop) Columns() bool   { return true }

func (mop) Reach(base *config.Config, width plan.Options) (float64, error) {
	return plan.New(base).Reach(base, width)
}

func (mop) Step(ctx context.Context, r Run, n int, s plan.State) (Step, error) {
	return r.CompareCandidates(ctx, n, s)
}
