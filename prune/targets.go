package prune

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"

	"mop/prune/method"
	"mop/prune/plan"
)

// targetModel is the model of one target.
type targetModel struct {
	plan  *plan.Plan
	state plan.State
}

// newTargetModel describes the model after a step in its plan.
func newTargetModel(p *plan.Plan, step int, target float64, s plan.State) targetModel {
	p.Step, p.Target, p.Layers, p.Groups = step, target, s.Layers, s.Groups
	return targetModel{p, s}
}

// selectTargets finds each target's model: the nearest one on the path, or with
// ExactTarget one that leaves the path by a width step. states[0] is the base.
func (r *run) selectTargets(ctx context.Context, path *plan.Plan, states []plan.State) ([]targetModel, error) {
	exact := r.ExactTarget || !r.isStepper()
	if len(path.Steps) == 0 && !exact {
		return nil, errors.New("no step is possible: the model is as small as it can be pruned")
	}
	targetOf := map[int]float64{} // step -> target
	var models []targetModel
	for _, target := range r.Targets {
		if r.TargetLatency {
			meet := r.latencyTarget
			if !r.isStepper() {
				meet = r.latencyAtOnce
			}
			m, err := meet(ctx, path, states, target)
			if err != nil {
				return nil, err
			}
			models = append(models, m)
			continue
		}
		if exact {
			m, err := r.exactTarget(ctx, path, states, target)
			if err != nil {
				return nil, err
			}
			if m.plan != nil {
				models = append(models, m)
				continue
			}
		}
		n := plan.Nearest(path.Compressions(), target)
		if other, ok := targetOf[n]; ok {
			slog.Warn("two targets are nearest to the same step", "step", n, "targets", []float64{other, target})
		}
		targetOf[n] = target
		if distance := math.Abs(path.Steps[n-1].Compression - target); distance > 0.05 {
			slog.Warn("the nearest step is far from the target: --exact-target meets it", "target", target, "compression", fmt.Sprintf("%.4f", path.Steps[n-1].Compression))
		}
		p := *path
		models = append(models, newTargetModel(&p, n, target, states[n]))
	}
	return models, nil
}

// remaining is the number of parameters that a state still has to lose for a target.
func (r *run) remaining(s plan.State, target float64) float64 {
	c := r.base.Config()
	return float64(s.Config(c).Params()) - (1-target)*float64(c.Params())
}

// exactTarget leaves the path after its last step that does not exceed the target, by a
// width step whose budget is the remaining parameters. If that width step is not
// possible, an earlier state is tried, which has more to lose. If none is possible, the
// returned plan is nil.
func (r *run) exactTarget(ctx context.Context, path *plan.Plan, states []plan.State, target float64) (targetModel, error) {
	var impossible error
	for n := len(states) - 1; n >= 0; n-- {
		remaining := r.remaining(states[n], target)
		if remaining < 0 {
			continue
		}
		p := *path
		p.Steps = slices.Clone(path.Steps[:n])
		if remaining < 1 && n > 0 {
			return newTargetModel(&p, n, target, states[n]), nil
		}
		s, why, err := r.pruneToTarget(ctx, n+1, states[n], max(remaining, 1))
		if errors.Is(err, plan.ErrWidth) {
			impossible = err
			continue
		}
		if err != nil {
			return targetModel{}, err
		}
		step := p.Add(r.base.Config(), s, plan.Width, why, nil)
		if distance := math.Abs(step.Compression - target); distance > 0.005 {
			slog.Warn("rounding keeps the width step from the target", "target", target, "compression", step.Compression, "round_to", r.width.RoundTo, "heads_multiple", r.width.HeadsMultiple)
		}
		if err := r.cleanUp(); err != nil {
			return targetModel{}, err
		}
		return newTargetModel(&p, n+1, target, s), nil
	}
	if len(path.Steps) == 0 {
		return targetModel{}, fmt.Errorf("target %v: %w", target, impossible)
	}
	slog.Warn("the target cannot be met exactly: its nearest step is taken", "target", target, "reason", impossible)
	return targetModel{}, nil
}

// pruneToTarget removes a number of parameters from a state's heads and neurons. The reason
// is that of a width step which its path does not have.
func (r *run) pruneToTarget(ctx context.Context, n int, s plan.State, budget float64) (next plan.State, why string, err error) {
	m, ok := r.method.(method.OneShot)
	if !ok {
		next, err = r.pruneWidth(ctx, n, s, budget)
		return next, "the target is met exactly by a width step", err
	}
	scores, err := r.importance(ctx, n, s)
	if err != nil {
		return s, "", err
	}
	next, err = m.Prune(r.base.Config(), r.width, budget, scores)
	return next, "", err
}

// writeTargets writes the models, fine-tunes them if asked to, and returns their plans.
func (r *run) writeTargets(ctx context.Context, models []targetModel) ([]*plan.Plan, error) {
	if err := os.RemoveAll(r.workDir()); err != nil {
		return nil, err
	}
	refits, err := r.refitTargets(ctx, models)
	if err != nil {
		return nil, err
	}
	plans := make([]*plan.Plan, len(models))
	for i, m := range models {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		w := writer{r.base, r.Model, r.HFType, r.Resume, refits[i]}
		if err := w.write(TargetDir(r.Out, m.plan.Target), m.plan, m.state); err != nil {
			return nil, err
		}
		plans[i] = m.plan
	}
	if r.Recovery.Final {
		for _, p := range plans {
			if err := r.finalRecovery(ctx, p.Target); err != nil {
				return nil, err
			}
		}
	}
	return plans, nil
}
