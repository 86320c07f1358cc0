package prune

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"mop/internal/files"
	"mop/prune/criterion"
	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/dataset"
	"mop/runtime/tokenizer"
)

// A run is validated in two stages before anything is written: validateOptions needs no
// file, and validateFiles needs the model and the texts. A check that is not here is part
// of reading a file.

// Check refuses what Run would refuse of the options, the model's sizes and the texts, before
// anything is computed. It does not read the weights.
func Check(o Options) error {
	r := &run{Options: o}
	if err := r.validateOptions(); err != nil {
		return OptionsError{err}
	}
	base, err := checkpoint.Open(o.Model)
	if err != nil {
		return err
	}
	defer base.Close()
	r.base = base
	return r.validateTexts()
}

// validateOptions checks the options by themselves, fills in the defaults, and looks up
// criterion and score.
func (r *run) validateOptions() error {
	o := &r.Options
	if err := r.lookUp(); err != nil {
		return err
	}
	if err := plan.CheckTargets(o.Targets); err != nil {
		return err
	}
	if err := o.Width.Check(); err != nil {
		return err
	}
	if err := config.CheckHFType(o.HFType); err != nil {
		return err
	}
	if o.Prompts < 1 {
		return fmt.Errorf("prompts: want at least 1, got %d", o.Prompts)
	}
	if o.Windows < 1 || o.Context < 2 {
		return fmt.Errorf("windows: want at least 1 of at least 2 tokens, got %d of %d", o.Windows, o.Context)
	}
	if o.Device == nil && o.OpenDevice == nil {
		return errors.New("device: want one")
	}
	if err := r.validateLatency(); err != nil {
		return err
	}
	return r.validateRecovery()
}

func (r *run) validateRecovery() error {
	v := &r.Recovery
	switch {
	case v.Short < 0:
		return fmt.Errorf("short recovery: want 0 or more steps, got %d", v.Short)
	case v.Short > 0 && r.scorer == nil:
		return fmt.Errorf("short recovery: %s scores no candidates", r.chooser())
	case !v.needed():
		return nil
	case v.Recipe.Data == "":
		return errors.New("recovery: want a file to train on")
	}
	if err := v.Recipe.Check(); err != nil {
		return fmt.Errorf("recovery: %w", err)
	}
	return nil
}

// validateFiles checks the options against the model, which is open, and against the
// files. It reads the texts and computes what identifies the run.
func (r *run) validateFiles() error {
	err := r.validateTexts()
	if err != nil {
		return err
	}
	if err := checkpoint.CheckFinite(r.base); err != nil {
		return fmt.Errorf("%s: %w", r.Model, err)
	}
	if r.checksum, err = checkpoint.Checksum(r.base); err != nil {
		return err
	}
	if r.fineTuning, err = r.Recovery.identity(); err != nil {
		return err
	}
	r.key, err = r.identityKey()
	return err
}

// validateTexts checks the options against the model's sizes and the texts.
func (r *run) validateTexts() error {
	if err := r.checkOutput(); err != nil {
		return err
	}
	c := r.base.Config()
	var err error
	if r.width, err = r.Width.Resolve(plan.New(c)); err != nil {
		return err
	}
	reach, err := r.method.Reach(c, r.width)
	if err != nil {
		return err
	}
	if goal := slices.Max(r.Targets); goal > reach && !r.TargetLatency {
		return fmt.Errorf("target %v: beyond reach: no path goes further than %.4f", goal, math.Floor(reach*1e4)/1e4)
	}
	if r.inputs, err = r.readInputs(); err != nil {
		return err
	}
	// Rows that cannot be trained on are found before the steps, which may take hours.
	return r.checkTrainingData()
}

// checkTrainingData reads the rows that the run will fine-tune on.
func (r *run) checkTrainingData() error {
	if !r.Recovery.needed() {
		return nil
	}
	t, err := tokenizer.Open(r.Model)
	if err != nil {
		return err
	}
	recipe := &r.Recovery.Recipe
	if _, _, err := dataset.ReadExamples(r.dataFile(recipe.Data, recipe.Separator), t, min(recipe.MaxLength, r.base.Config().MaxPositions)); err != nil {
		return fmt.Errorf("recovery: %w", err)
	}
	return nil
}

// checkOutput refuses output directories that would overwrite the model, or what another
// run or a person has left there.
func (r *run) checkOutput() error {
	model, err := checkOutsideModel(r.Out, r.Model)
	if err != nil {
		return err
	}
	if st, err := os.Stat(r.Out); err == nil && !st.IsDir() {
		return fmt.Errorf("out: %s: want a directory", r.Out)
	}
	journal := filepath.Join(r.Out, journalFile)
	_, err = os.Stat(journal)
	hasJournal := err == nil
	if hasJournal && !r.Resume {
		return fmt.Errorf("%s: a run was started here: give --resume to continue it, or another --out", journal)
	}
	for _, dir := range []string{r.workDir(), filepath.Join(r.Out, scoresDir)} {
		if _, err := os.Lstat(dir); err == nil && !hasJournal {
			return fmt.Errorf("%s: exists, but there is no run in %s: remove it or give another --out", dir, r.Out)
		}
	}
	for _, t := range r.Targets {
		if dir := RecoveredDir(r.Out, t); r.Recovery.Final && !r.Resume {
			if _, err := os.Lstat(dir); err == nil {
				return fmt.Errorf("%s: exists already: give --resume or another --out", dir)
			}
		}
		if err := checkTargetDir(TargetDir(r.Out, t), model, r.Resume); err != nil {
			return err
		}
	}
	return nil
}

// checkOutsideModel refuses an output directory inside the model's directory. It returns
// the model's directory without symbolic links.
func checkOutsideModel(out, model string) (string, error) {
	dir, err := files.Resolve(model)
	if err != nil {
		return "", err
	}
	to, err := files.Resolve(out)
	if err == nil && files.Inside(to, dir) {
		err = fmt.Errorf("out: %s lies in the model's directory %s: give another --out", out, model)
	}
	return dir, err
}

// checkTargetDir refuses a target's directory that could not be written at the end of
// the run.
func checkTargetDir(dir, model string, resume bool) error {
	if path, err := files.Resolve(dir); err == nil && files.Inside(model, path) {
		return fmt.Errorf("%s: holds the model: give another --out", dir)
	}
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if !resume {
		return fmt.Errorf("%s: exists already: give --resume or another --out", dir)
	}
	if _, err := os.Stat(filepath.Join(dir, planFile)); err != nil {
		return fmt.Errorf("%s: exists, and was not made by a run: it has no %s: give another --out", dir, planFile)
	}
	return nil
}

// checkDiskSpace refuses a run whose candidates or models do not fit on the disk. The
// space is checked again before each of them is written.
func (r *run) checkDiskSpace() error {
	var base int64
	for _, info := range checkpoint.ExpectedTensors(r.base.Config()) {
		t, err := r.base.Tensor(info.Name)
		if err != nil {
			return err
		}
		base += int64(len(t.Data))
	}
	candidates := base // an upper bound for one of them
	if r.scorer != nil {
		dim := r.base.Config().HiddenSize
		candidates += base + prefixCacheBytes(dim, r.inputs)
		if r.scorer.Needs().Reference {
			candidates += criterion.CachedReferenceBytes(dim, r.inputs.windows)
		}
	}
	var models int64
	for _, t := range r.Targets {
		if _, err := os.Stat(TargetDir(r.Out, t)); err != nil {
			models += int64((1 - t) * float64(base))
		}
	}
	if err := checkpoint.CheckFree(r.Out, max(candidates, models)); err != nil {
		return fmt.Errorf("%s: candidates of up to %d bytes, models of about %d: %w", r.Out, candidates, models, err)
	}
	return nil
}
