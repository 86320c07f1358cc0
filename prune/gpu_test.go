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

	"mop/prune/plan"
	"mop/prune/recover"
	"mop/prune/score"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/model"
)

// nearby is how far two AMP scores of the same head or neuron may be apart,
// relative: they are means of what was rounded to bfloat16.
const nearby = 0.02

// A prune by kl takes the same steps on the GPU as on the host, and what it keeps
// differs only between scores closer than the rounding.
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
	o := small(t, t.TempDir())
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
		for kind, x := range w.Scores {
			if y := g.Scores[kind]; y == nil || math.Abs(*x-*y) > 0.05**x+1e-4 {
				t.Errorf("step %d: score of %s: want %v, got %v", i+1, kind, *x, y)
			}
		}
	}
	a, b := scores(t, host, o), scores(t, dev, o)
	differ := 0
	for i, l := range kept.Layers {
		m := keptGPU.Layers[i]
		if l.From != m.From {
			t.Fatalf("layer %d: want base layer %d, got %d", i, l.From, m.From)
		}
		differ += disputed(t, a.Heads[l.From], b.Heads[l.From], l.Heads, m.Heads) + disputed(t, a.MLP[l.From], b.MLP[l.From], l.MLP, m.MLP)
	}
	t.Logf("%d heads and neurons are kept by one alone", differ)
}

// scores are AMP's of the base.
func scores(t *testing.T, dev device.Device, o Options) *plan.Scores {
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
	texts, err := readTexts(o, src.Config())
	if err != nil {
		t.Fatal(err)
	}
	s, err := score.AMP(context.Background(), m, texts.prompts, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// disputed counts what only one side keeps; each must score within the rounding of
// the border, which lies between the largest dropped and the smallest kept.
func disputed(t *testing.T, a, b []float64, x, y []int) (n int) {
	t.Helper()
	for i := range a {
		if math.Abs(a[i]-b[i]) > nearby*a[i] {
			t.Errorf("score %d: want %g, got %g", i, a[i], b[i])
		}
		if slices.Contains(x, i) != slices.Contains(y, i) {
			n++
			border := math.Inf(1)
			for _, j := range x {
				border = min(border, a[j])
			}
			if math.Abs(a[i]-border) > 4*nearby*border {
				t.Errorf("%d is kept by one alone, its score is %g, the border %g", i, a[i], border)
			}
		}
	}
	return n
}

// Candidates and targets are trained on the GPU as on the host: the same steps, scores
// that agree to the rounding, and a trained model beside the pruned one.
func TestGPURecovery(t *testing.T) {
	dev := gpu(t, 2)
	model := tinyModel(t, 3, nil)
	run := func(on device.Device) (*plan.Plan, string) {
		o := trained(t, model, 1, true)
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
	for i, w := range want.Steps {
		for kind, x := range w.Scores {
			if y := got.Steps[i].Scores[kind]; y == nil || math.Abs(*x-*y) > 0.05**x+1e-4 {
				t.Errorf("step %d: score of %s, trained: want %v, got %v", i+1, kind, *x, y)
			}
		}
	}
	losses := func(dir string) (r recover.Result) {
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
	t.Logf("losses of the target's training: %v -> %v and %v -> %v", a.FirstLoss, a.LastLoss, b.FirstLoss, b.LastLoss)
	if math.Abs(float64(a.LastLoss-b.LastLoss)) > 0.02*float64(a.LastLoss) || b.Steps != 2 {
		t.Errorf("want 2 steps to a loss of %v, got %d to %v", a.LastLoss, b.Steps, b.LastLoss)
	}
}

// closeAtEnd closes a device behind a test; what failed on it shows then at the latest.
func closeAtEnd(t *testing.T, dev device.Device) {
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
}
