package prune

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

// ReplayOptions are the options of Replay.
type ReplayOptions struct {
	Plans      []string // plan.json files, each of one model
	Model, Out string   // directories
	HFType     string   // "" = that of the plan
	Resume     bool
}

// Replay makes the models of plans again from their base. It needs no data and no
// forward pass, and the models have the same bytes as those of the run that made the
// plans. It returns the plans in their order.
func Replay(ctx context.Context, o ReplayOptions) ([]*plan.Plan, error) {
	if err := config.CheckHFType(o.HFType); err != nil {
		return nil, OptionsError{err}
	}
	base, err := checkpoint.Open(o.Model)
	if err != nil {
		return nil, err
	}
	defer base.Close()
	plans := make([]*plan.Plan, len(o.Plans))
	states := make([]plan.State, len(o.Plans))
	var targets []float64
	sum := ""
	for i, file := range o.Plans {
		p, err := plan.Load(file)
		if err != nil {
			return nil, err
		}
		if states[i], err = p.Replay(base.Config()); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if p.Settings[RefitSetting] != nil {
			return nil, fmt.Errorf("%s: its model was refitted on text, which a plan does not hold: make it by mop prune --refit with the same texts", file)
		}
		if p.Target == 0 {
			return nil, fmt.Errorf("%s: target: absent: the plan is of no model", file)
		}
		if slices.Contains(targets, p.Target) {
			return nil, fmt.Errorf("%s: target %v: another plan has the same target", file, p.Target)
		}
		if sum == "" && p.Base.Weights != "" {
			if sum, err = checkpoint.Checksum(base); err != nil {
				return nil, err
			}
		}
		switch p.Base.Weights {
		case sum:
		case "":
			slog.Warn("the plan has no checksum of its weights: only sizes are compared", "plan", file)
		default:
			return nil, fmt.Errorf("%s: base: the plan is of a model of these sizes with other weights than %s", file, o.Model)
		}
		plans[i], targets = p, append(targets, p.Target)
	}
	if err := checkReplayOutput(o, targets); err != nil {
		return nil, err
	}
	if err := checkpoint.CheckFinite(base); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Model, err)
	}
	for i, p := range plans {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		hfType, _ := p.Settings["hf_type"].(string)
		if o.HFType != "" {
			hfType = o.HFType
		}
		if err := (writer{base, o.Model, hfType, o.Resume, refitted{}}).write(TargetDir(o.Out, p.Target), p, states[i]); err != nil {
			return nil, err
		}
	}
	return plans, nil
}

// checkReplayOutput refuses output directories that would overwrite the model or what
// others have left there.
func checkReplayOutput(o ReplayOptions, targets []float64) error {
	model, err := checkOutsideModel(o.Out, o.Model)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(o.Out, journalFile)); err == nil && !o.Resume {
		return fmt.Errorf("%s: a run was started here: give another --out", o.Out)
	}
	for _, t := range targets {
		if err := checkTargetDir(TargetDir(o.Out, t), model, o.Resume); err != nil {
			return err
		}
	}
	return nil
}
