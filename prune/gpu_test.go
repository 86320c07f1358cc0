//go:build cuda || cudaemu

package prune

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mop/prune/finetune"
	"mop/prune/plan"
	"mop/prune/score"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/dataset"
	"mop/runtime/device"
	"mop/runtime/device/tolerance"
	"mop/runtime/model"
	"mop/runtime/tokenizer"
)

// A run by kl takes the same steps on the GPU as on the host. The kept heads and neurons
// differ only where scores are closer than the rounding.
func TestGPUPrune(t *testing.T) {
	dev := gpu(t, 1)
	run := func(o Options) (*plan.Plan, plan.State) {
		all, err := Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		p := all[len(all)-1]
		return p, plan.State{Layers: p.Layers}
	}
	o := demoOptions(t, t.TempDir())
	host := o.Device
	want, kept := run(o)
	o.Out, o.Device = t.TempDir(), dev
	got, keptGPU := run(o)

	if len(got.Steps) != len(want.Steps) {
		t.Fatalf("want %d steps, got %d", len(want.Steps), len(got.Steps))
	}
	for i, w := range want.Steps {
		g := got.Steps[i]
		if g.Kind != w.Kind {
			t.Errorf("step %d: want %s by scores %v, got %s by %v", i+1, w.Kind, w.Scores, g.Kind, g.Scores)
		}
		sameScores(t, i, w, g, len(base(t, o).Layers))
	}
	a, tokens := scores(t, host, o)
	b, _ := scores(t, dev, o)
	nearby := 2 * tolerance.Mean(checkpoint.BF16, len(base(t, o).Layers), tokens, 1) // twice: all of thousands
	differ := 0
	for i, l := range kept.Layers {
		m := keptGPU.Layers[i]
		if l.From != m.From {
			t.Fatalf("layer %d: want base layer %d, got %d", i, l.From, m.From)
		}
		differ += disputed(t, nearby, a.Heads[l.From], b.Heads[l.From], l.Heads, m.Heads) + disputed(t, nearby, a.Neurons[l.From], b.Neurons[l.From], l.Neurons, m.Neurons)
	}
	t.Logf("%d heads and neurons are kept by one alone; scores within %.2g", differ, nearby)
}

// base is the model's config.
func base(t *testing.T, o Options) *config.Config {
	t.Helper()
	c, err := config.Load(filepath.Join(o.Model, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sameScores compares a step's scores with the host's.
func sameScores(t *testing.T, step int, want, got plan.Step, layers int) {
	t.Helper()
	for kind, x := range want.Scores {
		y := got.Scores[kind]
		if y == nil {
			t.Errorf("step %d: want a score of %s", step+1, kind)
			continue
		}
		share := math.Abs(*x-*y) / tolerance.Score(checkpoint.BF16, layers, *x)
		t.Logf("step %d: score of %s: %v and %v, %.0f %% of the tolerance", step+1, kind, *x, *y, 100*share)
		if !(share <= 1) {
			t.Errorf("step %d: score of %s: want %v, got %v", step+1, kind, *x, *y)
		}
	}
}

// scores returns the AMP scores of the base, and the number of tokens they are means over.
func scores(t *testing.T, dev device.Device, o Options) (s *plan.Scores, tokens int) {
	t.Helper()
	src, err := checkpoint.Open(o.Model)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	m, err := model.Load(dev, src)
	if err != nil {
		t.Fatal(err)
	}
	r := &run{Options: o, base: src}
	if err := r.validateOptions(); err != nil {
		t.Fatal(err)
	}
	in, err := r.readInputs()
	if err != nil {
		t.Fatal(err)
	}
	if s, err = score.Measure(context.Background(), score.AMP(), m, score.Calibration{Prompts: in.prompts}); err != nil {
		t.Fatal(err)
	}
	for _, p := range in.prompts {
		tokens += len(p)
	}
	return s, tokens
}

// disputed counts what only one side keeps. Its scores must be within the rounding of the
// threshold between the highest removed and the lowest kept score.
func disputed(t *testing.T, nearby float64, a, b []float64, x, y []int) (n int) {
	t.Helper()
	for i := range a {
		if math.Abs(a[i]-b[i]) > nearby*a[i] {
			t.Errorf("score %d: want %g, got %g: %.2g apart, want %.2g", i, a[i], b[i], math.Abs(a[i]-b[i])/a[i], nearby)
		}
		if slices.Contains(x, i) != slices.Contains(y, i) {
			n++
			border := math.Inf(1)
			for _, j := range x {
				border = min(border, a[j])
			}
			if math.Abs(a[i]-border) > 2*nearby*border { // this one's score and the border's
				t.Errorf("%d is kept by one alone, its score is %g, the border %g", i, a[i], border)
			}
		}
	}
	return n
}

// Candidates and targets are fine-tuned on the GPU as on the host: the same steps, scores
// that agree to the rounding, and a fine-tuned model beside the pruned one.
func TestGPURecovery(t *testing.T) {
	dev := gpu(t, 2)
	model := tinyModel(t, 3, nil)
	run := func(on device.Device) (*plan.Plan, string) {
		o := recoveryOptions(t, model, 1, true)
		o.Recovery.Recipe.Steps, o.Recovery.Recipe.MaxLength = 2, 60
		if on != nil {
			o.Device = on
		}
		return mustRun(t, o)[0], RecoveredDir(o.Out, 0.2)
	}
	want, host := run(nil)
	got, out := run(dev)
	if len(got.Steps) != len(want.Steps) {
		t.Fatalf("want %d steps, got %d", len(want.Steps), len(got.Steps))
	}
	const layers = 6 // of tinyModel
	for i, w := range want.Steps {
		sameScores(t, i, w, got.Steps[i], layers)
	}
	losses := func(dir string) (r finetune.Result) {
		text, err := os.ReadFile(filepath.Join(dir, "recovery.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	a, b := losses(host), losses(out)
	apart, allow := math.Abs(float64(a.LastLoss-b.LastLoss)), tolerance.Mean(checkpoint.BF16, layers, labels(t, recoveryOptions(t, model, 1, true).Recovery.Recipe), float64(a.LastLoss))
	t.Logf("losses of the target's training: %v -> %v and %v -> %v, %.0f %% of the tolerance", a.FirstLoss, a.LastLoss, b.FirstLoss, b.LastLoss, 100*apart/allow)
	if !(apart <= allow) || b.Steps != 2 {
		t.Errorf("want 2 steps to a loss of %v, got %d to %v", a.LastLoss, b.Steps, b.LastLoss)
	}
}

// closeAtEnd closes a device after the test and reports errors of pending work.
func closeAtEnd(t *testing.T, dev device.Device) {
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
}

// labels is about the number of tokens that a step's loss is the mean over.
func labels(t *testing.T, o finetune.Options) int {
	t.Helper()
	tok, err := tokenizer.Open(demoModel)
	if err != nil {
		t.Fatal(err)
	}
	examples, _, err := dataset.ReadExamples(dataset.File{Path: o.Data, Separator: o.Separator}, tok, 60)
	if err != nil || len(examples) == 0 {
		t.Fatalf("want examples, got %d, %v", len(examples), err)
	}
	all := 0
	for _, e := range examples {
		all += e.Targets()
	}
	return o.Batch * all / len(examples)
}
