package prune

import (
	"cmp"
	"errors"
	"fmt"

	"mop/prune/criterion"
	"mop/prune/method"
	"mop/prune/plan"
	"mop/prune/score"
)

// lookUp finds the method, the criterion and the score by their names. It refuses options
// that the method does not use.
func (r *run) lookUp() error {
	var err error
	if r.method, err = method.ByName(r.Options.Method); err != nil {
		return err
	}
	if err := r.checkUses(); err != nil {
		return err
	}
	uses := r.method.Uses()
	if uses.Criterion {
		if err := r.lookUpCriterion(); err != nil {
			return err
		}
	}
	if m, ok := r.method.(method.OneShot); ok {
		r.score, err = m.Score(r.Seed)
		return err
	}
	r.score, err = score.New(score.Options{Heads: cmp.Or(r.HeadScore, r.Score), Neurons: cmp.Or(r.NeuronScore, r.Score), Seed: r.Seed})
	return err
}

func (r *run) lookUpCriterion() error {
	c, err := criterion.ByName(r.Criterion)
	if err != nil {
		return err
	}
	switch c := c.(type) {
	case criterion.Scorer:
		r.scorer = c
	case criterion.Chooser:
		if r.path, err = c.Path(criterion.Settings{Seed: r.Seed, Sequence: r.Sequence}); err != nil {
			return err
		}
	}
	return nil
}

// checkUses refuses options that the method does not use, by their names.
func (r *run) checkUses() error {
	o, uses, name := &r.Options, r.method.Uses(), r.method.Name()
	w := o.Width
	for _, x := range []struct {
		given, used bool
		option, why string
	}{
		{o.Criterion != "", uses.Criterion, "criterion", "it compares no candidates of two kinds"},
		{o.Sequence != "", uses.Criterion, "sequence", "it has a path of its own"},
		{o.Score != "" || o.HeadScore != "" || o.NeuronScore != "", uses.Scores, "score", "it has one of its own, or none"},
		{cmp.Or(w.Rule, plan.AutoRule) != plan.AutoRule, uses.Rule, "rule", "no rule decides how much of a layer it removes"},
		{cmp.Or(w.Allocation, plan.Uniform) != plan.Uniform, uses.Rule, "allocation", "it divides by itself what is removed over the layers"},
		{w.RoundTo > 1 || w.HeadsMultiple > 1, uses.Rule, "sizes in multiples", "it does not round"},
		{o.ExactTarget, r.prunesColumns(), "exact target", "it removes whole layers"},
		{o.Refit, r.prunesColumns(), "refit", "it removes whole layers and leaves every matrix as it is"},
		{o.TargetLatency, r.prunesColumns(), "target latency", "it removes whole layers"},
	} {
		if x.given && !x.used {
			return fmt.Errorf("method %s: takes no %s: %s", name, x.option, x.why)
		}
	}
	return nil
}

func (r *run) isStepper() bool {
	_, ok := r.method.(method.Stepper)
	return ok
}

// prunesColumns reports whether the method may remove heads and neurons.
func (r *run) prunesColumns() bool {
	s, ok := r.method.(method.Stepper)
	return !ok || s.Columns()
}

// needsPrompts returns nil if nothing is measured on the calibration prompts, otherwise the
// error of a run that has none.
func (r *run) needsPrompts() error {
	scores := r.prunesColumns()
	if r.method.Uses().Criterion {
		scores = r.scorer != nil || r.path.HasWidth || r.ExactTarget
	}
	switch {
	case r.method.Uses().Prompts:
		return fmt.Errorf("calibration: want a file of text: method %s measures on it", r.method.Name())
	case scores && r.score.Needs().Prompts:
		return errors.New("calibration: want a file of prompts: width steps score heads and neurons on them")
	case r.Refit:
		return errors.New("calibration: want a file of text: the refit is made on it")
	}
	return nil
}

// chooser names in messages what chooses the steps.
func (r *run) chooser() string {
	if r.method.Uses().Criterion {
		return "criterion " + r.Criterion
	}
	return "method " + r.method.Name()
}
