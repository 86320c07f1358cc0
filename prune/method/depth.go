package method

import (
	"context"
	"errors"

	"mop/prune/plan"
	"mop/runtime/config"
)

// depth is the depth path of MoP alone: every step removes the third-to-last layer.
type depth struct{}

func (depth) Name() string    { return "depth" }
func (depth) Summary() string { return "the third-to-last layer at every step" }
func (depth) Uses() Uses      { return Uses{} }
func (depth) Columns() bool   { return false }

func (depth) Reach(base *config.Config, _ plan.Options) (float64, error) {
	return plan.New(base).DepthReach(base, 3), nil
}

func (depth) Step(_ context.Context, _ Run, _ int, s plan.State) (Step, error) {
	next, err := s.PruneDepth()
	if errors.Is(err, plan.ErrDepth) {
		err = ErrEnd
	}
	return Step{State: next, Kind: plan.Depth}, err
}
