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
	"mop/runtime/tokenizer"
)

// Recovery says what training a run does. A trained model never feeds the next
// step.
type Recovery struct {
	Recipe finetune.Options // how, and on which file; Model, Out and the like are the run's
	Short  int              // steps that a candidate is trained before it is scored, 0 = none; then thrown away
	Final  bool             // each target's model is trained, beside it
}

// RecoveredDir is where a target's trained model goes: 0.20-recovered.
func RecoveredDir(out string, target float64) string { return TargetDir(out, target) + "-recovered" }

// check holds the recipe to its values, before anything is computed.
func (v *Recovery) check(o *Options) error {
	if v.Short < 0 {
		return fmt.Errorf("short recovery: want 0 or more steps, got %d", v.Short)
	}
	if v.Short > 0 && !o.scored() {
		return fmt.Errorf("short recovery: criterion %s scores no candidates", o.Criterion)
	}
	if v.Short == 0 && !v.Final {
		return nil
	}
	if v.Recipe.Data == "" {
		return errors.New("recovery: want a file to train on")
	}
	if err := v.Recipe.Check(); err != nil {
		return fmt.Errorf("recovery: %w", err)
	}
	return nil
}

// readable finds what is wrong with the rows before the hours of steps, not after.
func (v *Recovery) readable(o *Options, positions int) error {
	if v.Short == 0 && !v.Final {
		return nil
	}
	t, err := tokenizer.Open(o.Model)
	if err != nil {
		return err
	}
	if _, _, err := finetune.Read(v.Recipe.Data, v.Recipe.Separator, t, min(v.Recipe.MaxLength, positions)); err != nil {
		return fmt.Errorf("recovery: %w", err)
	}
	return nil
}

// identity is what a step depends on where candidates are trained.
func (v *Recovery) identity() (map[string]string, error) {
	if v.Short == 0 {
		return nil, nil
	}
	sum, err := files.Sum(v.Recipe.Data)
	if err != nil {
		return nil, err
	}
	short := v.short()
	return map[string]string{"short_recovery": fmt.Sprint(short.Settings()), "short_recovery_data": sum}, nil
}

// short is the recipe of a candidate's training.
func (v *Recovery) short() finetune.Options {
	o := v.Recipe
	o.Steps, o.Every, o.Log = v.Short, 0, ""
	return o
}

// shortRecovery trains a candidate, which it takes over, and returns the trained one.
func (r *run) shortRecovery(ctx context.Context, n int, kind plan.Kind, s plan.State, m *candidate) (*candidate, error) {
	m.close()
	o := r.Recovery.short()
	o.Model = filepath.Join(r.work(), r.name(s))
	o.Out = o.Model + "-trained"
	for _, left := range []string{o.Out, o.Out + ".training"} { // by a run that was killed
		if err := os.RemoveAll(left); err != nil {
			return nil, err
		}
	}
	o.Progress = func(u progress.Update) {
		u.Step, u.Phase = n, "training "+string(kind)
		r.Progress.Report(u)
	}
	if err := r.train(ctx, o); err != nil {
		return nil, fmt.Errorf("short recovery: %w", err)
	}
	return r.load(o.Out)
}

// finalRecovery trains a target's model.
func (r *run) finalRecovery(ctx context.Context, target float64) error {
	o := r.Recovery.Recipe
	o.Model, o.Out, o.Resume = TargetDir(r.Out, target), RecoveredDir(r.Out, target), r.Resume
	o.Progress = func(u progress.Update) {
		u.Phase = "training " + filepath.Base(o.Out)
		r.Progress.Report(u)
	}
	if err := r.train(ctx, o); err != nil {
		return fmt.Errorf("recovery: %w", err)
	}
	return nil
}

// train runs a recipe with what is the run's own.
func (r *run) train(ctx context.Context, o finetune.Options) error {
	o.Tokenizer, o.Device, o.Seed = r.Model, r.Device, r.Seed
	_, err := finetune.Run(ctx, o)
	return err
}
