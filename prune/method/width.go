package method

import (
	"context"
	"errors"

	"mop/prune/plan"
	"mop/runtime/config"
)

// width is the width path of MoP alone: every step removes heads and neurons of as many
// parameters as a layer has, by scores that are measured anew.
type width struct{}

func (width) Name() string    { return "width" }
func (width) Summary() string { return "heads and neurons of all layers at every step" }
func (width) Uses() Uses      { return Uses{Scores: true, Rule: true} }
func (width) Columns() bool   { return true }

func (width) Reach(base *config.Config, o plan.Options) (float64, error) {
	return plan.New(base).WidthReach(base, o)
}

func (width) Step(ctx context.Context, r Run, n int, s plan.State) (Step, error) {
	next, err := r.PruneWidth(ctx, n, s)
	if errors.Is(err, plan.ErrWidth) {
		err = ErrEnd
	}
	return Step{State: next, Kind: plan.Width}, err
}
