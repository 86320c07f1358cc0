package prune

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"

	"mop/prune/plan"
)

// targetModel is one target's model.
type targetModel struct {
	plan  *plan.Plan
	state plan.State
}

// selectTargets finds each target's model along the path, or off it where targets are to
// be met exactly; states[0] is the base.
func (r *run) selectTargets(ctx context.Context, path *plan.Plan, states []plan.State) ([]targetModel, error) {
	if len(path.Steps) == 0 && !r.ExactTarget {
		return nil, errors.New("no step is possible: the model is as small as it can be cut")
	}
	taken := map[int]float64{}
	var out []targetModel
	for _, target := range r.Targets {
		if r.ExactTarget {
			m, err := r.exact(ctx, path, states, target)
			if err != nil {
				return nil, err
			}
			if m.plan != nil {
				out = append(out, m)
				continue
			}
		}
		n := plan.Nearest(path.Compressions(), target)
		if other, twice := taken[n]; twice {
			slog.Warn("two targets are nearest to the same step", "step", n, "targets", []float64{other, target})
		}
		taken[n] = target
		if far := math.Abs(path.Steps[n-1].Compression - target); far > 0.05 {
			slog.Warn("the nearest step is far from the target: --exact-target meets it", "target", target, "compression", fmt.Sprintf("%.4f", path.Steps[n-1].Compression))
		}
		p := *path
		out = append(out, madeBy(&p, n, target, states[n]))
	}
	return out, nil
}

func madeBy(p *plan.Plan, step int, target float64, s plan.State) targetModel {
	p.Step, p.Target, p.Layers, p.Groups = step, target, s.Layers, s.Groups
	return targetModel{p, s}
}

// remaining is the parameters that a state still has to lose for a target.
func (r *run) remaining(s plan.State, target float64) float64 {
	c := r.base.Config()
	return float64(s.Config(c).Params()) - (1-target)*float64(c.Params())
}

// exact branches off the path: from its last step that does not pass the target,
// a width step whose budget is what is left. Where width cannot pay that, an
// earlier step's model can, being wider. Where none can, the plan is nil.
func (r *run) exact(ctx context.Context, path *plan.Plan, states []plan.State, target float64) (targetModel, error) {
	var why error
	for n := len(states) - 1; n >= 0; n-- {
		left := r.remaining(states[n], target)
		if left < 0 {
			continue
		}
		p := *path
		p.Steps = slices.Clone(path.Steps[:n])
		if left < 1 && n > 0 {
			return madeBy(&p, n, target, states[n]), nil
		}
		s, err := r.pruneWidth(ctx, n+1, states[n], max(left, 1))
		if errors.Is(err, plan.ErrWidth) {
			why = err
			continue
		}
		if err != nil {
			return targetModel{}, err
		}
		step := p.Add(r.base.Config(), s, plan.Width, "the target is met exactly by a width step", nil)
		if off := math.Abs(step.Compression - target); off > 0.005 {
			slog.Warn("rounding keeps the width step from the target", "target", target, "compression", step.Compression, "round_to", r.width.RoundTo, "heads_multiple", r.width.HeadsMultiple)
		}
		if err := r.cleanUp(); err != nil {
			return targetModel{}, err
		}
		return madeBy(&p, n+1, target, s), nil
	}
	if len(path.Steps) == 0 {
		return targetModel{}, fmt.Errorf("target %v: %w", target, why)
	}
	slog.Warn("the target cannot be met exactly: its nearest step is taken", "target", target, "why", why)
	return targetModel{}, nil
}
