package prune

import (
	"context"
	"strings"
	"testing"

	"mop/internal/testutil"
	"mop/prune/plan"
	"mop/runtime/config"
)

// Each exact target is exceeded by less than one neuron per layer. Its width step follows
// the last step of the path that does not exceed the target.
func TestExactTargets(t *testing.T) {
	model := tinyModel(t, 1, nil)
	plain := tinyOptions(t, model)
	plain.Criterion = "kl"
	path := mustRun(t, plain)[0]
	for _, rule := range []string{"exact", "mlp-only", "paper"} {
		o := tinyOptions(t, model)
		o.ExactTarget, o.Width.Rule = true, rule
		// A fixed path, so that neurons remain for mlp-only whatever the scores are.
		o.Criterion, o.Sequence = "sequence", "LGLGLG"
		o.Targets = []float64{0.31, 0.02, 0.17}
		for i, p := range mustRun(t, o) {
			s, target := p.TargetStep(), o.Targets[i]
			over := (1-target)*float64(p.Base.Params) - float64(s.Params)
			if limit := float64(3 * 24 * len(s.Shapes)); over < 0 || over >= limit {
				t.Errorf("rule %s, target %v: want at most %v parameters beyond it, got %v", rule, target, limit, over)
			}
			if s.Kind != plan.Width || p.Step != len(p.Steps) {
				t.Errorf("rule %s, target %v: want a width step at the end, got %+v", rule, target, s)
			}
			if err := p.Check(); err != nil {
				t.Error(err)
			}
		}
	}
	// If a step meets a target exactly, the target is that step's model.
	o := tinyOptions(t, model)
	o.ExactTarget, o.Targets = true, []float64{path.Steps[1].Compression, 0.3}
	p := mustRun(t, o)[0]
	if p.Step != 2 || len(p.Steps) != 2 || p.TargetStep().Params != path.Steps[1].Params {
		t.Errorf("want step 2 itself, got step %d of %d with %d parameters", p.Step, len(p.Steps), p.TargetStep().Params)
	}
}

// Scores are not measured again: other exact targets of a finished run need no pass of a
// model if its steps are known.
func TestAnotherTargetNeedsNoPass(t *testing.T) {
	o := tinyOptions(t, tinyModel(t, 1, nil))
	mustRun(t, o)
	before := testutil.ReadTree(t, o.Out)
	o.Resume, o.ExactTarget, o.Targets = true, true, []float64{0.07, 0.18, 0.25}
	n := passes(&o)
	mustRun(t, o)
	if *n != 0 {
		t.Errorf("exact targets off known steps: want no pass, got %d", *n)
	}
	after := testutil.ReadTree(t, o.Out)
	for name := range before {
		if after[name] != before[name] {
			t.Errorf("%s changed", name)
		}
	}
	straight := o
	straight.Out, straight.Resume, straight.Progress = t.TempDir()+"/out", false, nil
	mustRun(t, straight)
	for name, data := range models(testutil.ReadTree(t, straight.Out)) {
		if after[name] != data {
			t.Errorf("%s differs from an undisturbed run's", name)
		}
	}
	// Further targets add steps, and the models that exist do not change.
	o.ExactTarget, o.Targets, o.Progress = false, []float64{0.2, 0.38}, nil
	mustRun(t, o)
	straight.ExactTarget, straight.Targets, straight.Out = false, o.Targets, t.TempDir()+"/out"
	mustRun(t, straight)
	got := testutil.ReadTree(t, o.Out)
	for name, data := range models(testutil.ReadTree(t, straight.Out)) {
		if got[name] != data {
			t.Errorf("%s differs from an undisturbed run's", name)
		}
	}
}

// If no width step can remove the remaining parameters, the nearest step is taken. If
// there is no step either, the error gives the reason.
func TestExactTargetThatWidthCannotPay(t *testing.T) {
	thin := tinyModel(t, 1, func(c *config.Config) {
		for i := range c.Layers {
			c.Layers[i].Intermediate = 4
		}
	})
	o := tinyOptions(t, thin)
	o.ExactTarget, o.Width.Rule, o.Criterion, o.Sequence = true, "mlp-only", "sequence", "LLL"
	o.Targets = []float64{0.13}
	p := mustRun(t, o)[0]
	if last := p.TargetStep(); last.Kind != plan.Depth {
		t.Errorf("want the nearest step, a depth step, got %+v", last)
	}
	o = tinyOptions(t, thin)
	o.ExactTarget, o.Width.Rule, o.Targets = true, "mlp-only", []float64{0.055}
	if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), "target 0.055: width has nothing left to take") {
		t.Errorf("want it said that width cannot pay, got %v", err)
	}
}
