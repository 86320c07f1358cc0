package prune

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"mop/internal/files"
	"mop/internal/progress"
	"mop/prune/finetune"
	"mop/prune/plan"
)

// RecoveredDir is the directory of a target's fine-tuned model, such as OUT/0.20-recovered.
func RecoveredDir(out string, target float64) string { return TargetDir(out, target) + "-recovered" }

// identity returns what the scores of candidates depend on if they are fine-tuned.
func (v *Recovery) identity() (map[string]string, error) {
	if v.Short == 0 {
		return nil, nil
	}
	sum, err := files.Sum(v.Recipe.Data)
	if err != nil {
		return nil, err
	}
	short := v.shortRecipe()
	return map[string]string{"short_recovery": fmt.Sprint(short.Settings()), "short_recovery_data": sum}, nil
}

// shortRecipe is the recipe for fine-tuning a candidate. It stores no checkpoints.
func (v *Recovery) shortRecipe() finetune.Options {
	o := v.Recipe
	o.Steps, o.Every, o.Log, o.Temporary = v.Short, 0, "", true
	return o
}

// shortRecovery fine-tunes the checkpoint of a candidate and loads the result.
func (r *run) shortRecovery(ctx context.Context, n int, kind plan.Kind, s plan.State) (*candidate, error) {
	o := r.Recovery.shortRecipe()
	o.Model = filepath.Join(r.workDir(), r.stateName(s))
	o.Out = o.Model + "-trained"
	// A run that was killed may have left these.
	if err := errors.Join(os.RemoveAll(o.Out), os.RemoveAll(o.Out+".training")); err != nil {
		return nil, err
	}
	if err := r.fineTune(ctx, o, n, "training "+string(kind)); err != nil {
		return nil, fmt.Errorf("short recovery: %w", err)
	}
	return r.loadDir(o.Out)
}

// finalRecovery fine-tunes a target's model.
func (r *run) finalRecovery(ctx context.Context, target float64) error {
	o := r.Recovery.Recipe
	o.Model, o.Out, o.Resume, o.HFType = TargetDir(r.Out, target), RecoveredDir(r.Out, target), r.Resume, r.HFType
	if err := r.fineTune(ctx, o, 0, "training "+filepath.Base(o.Out)); err != nil {
		return fmt.Errorf("recovery: %w", err)
	}
	return nil
}

// fineTune runs a recipe with the options that are the run's own. It reports its progress
// as a phase of step n.
func (r *run) fineTune(ctx context.Context, o finetune.Options, n int, phase string) error {
	o.Tokenizer, o.Device, o.Seed = r.Model, r.Device, r.Seed
	o.Special, o.ChatTemplate = r.Special, r.ChatTemplate
	o.Progress = func(u progress.Update) {
		u.Step, u.Phase = n, phase
		r.Progress.Report(u)
	}
	_, err := finetune.Run(ctx, o)
	return err
}
