package prune

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mop/prune/plan"
	"mop/runtime/checkpoint"
)

// ReplayOptions say what is to be made again.
type ReplayOptions struct {
	Plans      []string // plan.json files, each of one model
	Model, Out string   // directories
	HFType     string   // "" = as the plan says
	Resume     bool
}

// Replay makes the models of plans again, from their base alone: no data, no
// forward pass, and the bytes of the run that made the plans. It returns the
// plans in their order.
func Replay(ctx context.Context, o ReplayOptions) ([]*plan.Plan, error) {
	if o.HFType != "" && !slices.Contains(HFTypes(), o.HFType) {
		return nil, fmt.Errorf("hf type: want one of %s, got %q", strings.Join(HFTypes(), ", "), o.HFType)
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
		if p.Target == 0 {
			return nil, fmt.Errorf("%s: target: absent: the plan lies beside no model", file)
		}
		if slices.Contains(targets, p.Target) {
			return nil, fmt.Errorf("%s: target %v: another of the plans has it too", file, p.Target)
		}
		if sum == "" && p.Base.Weights != "" {
			if sum, err = checkpoint.Checksum(base); err != nil {
				return nil, err
			}
		}
		switch p.Base.Weights {
		case sum:
		case "":
			slog.Warn("the plan does not say of which weights it is: only sizes are compared", "plan", file)
		default:
			return nil, fmt.Errorf("%s: base: the plan is of a model of these sizes with other weights than %s", file, o.Model)
		}
		plans[i], targets = p, append(targets, p.Target)
	}
	if err := checkOut(o, targets); err != nil {
		return nil, err
	}
	if err := checkpoint.CheckFinite(base); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Model, err)
	}
	for i, p := range plans {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		hf, _ := p.Settings["hf_type"].(string)
		if o.HFType != "" {
			hf = o.HFType
		}
		if err := (writer{base, o.Model, hf, o.Resume}).write(TargetDir(o.Out, p.Target), p, states[i]); err != nil {
			return nil, err
		}
	}
	return plans, nil
}

// checkOut is checkPlaces for models alone: a run may have been here.
func checkOut(o ReplayOptions, targets []float64) error {
	model, err := apart(o.Out, o.Model)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(o.Out, journalFile)); err == nil && !o.Resume {
		return fmt.Errorf("%s: a run has been here: give another --out", o.Out)
	}
	for _, t := range targets {
		if err := checkTarget(TargetDir(o.Out, t), model, o.Resume); err != nil {
			return err
		}
	}
	return nil
}
