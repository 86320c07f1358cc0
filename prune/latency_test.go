package prune

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/prune/plan"
	"mop/runtime/config"
	"mop/runtime/device"
)

// byParams is the latency of a made-up device: a fixed part, and the parameters of the
// layers, those of attention twice. The base, which is measured first, takes 100 ms.
func byParams(calls *int) LatencyFunc {
	var base0 float64
	return func(_ context.Context, _ device.Device, base *config.Config, layers []config.LayerShape, dense float64) (float64, error) {
		*calls++
		ms := 1.0
		for _, s := range layers {
			ms += 1e-3 * float64(2*s.AttentionParams(base.HiddenSize)+s.MLPParams(base.HiddenSize))
		}
		if dense == 0 {
			base0, dense = ms, 100
		}
		return dense * ms / base0, nil
	}
}

// Targets of the latency are met by measurement, each model is measured once, and a run
// that is repeated measures nothing and writes the same plans.
func TestTargetLatency(t *testing.T) {
	o := tinyOptions(t, tinyModel(t, 1, nil))
	calls := 0
	o.Criterion, o.TargetLatency, o.Targets, o.MeasureLatency = "latency", true, []float64{0.8, 0.6}, byParams(&calls)
	plans := mustRun(t, o)
	dense, _ := o.MeasureLatency(context.Background(), nil, &config.Config{HiddenSize: 24}, plans[0].Base.Shapes, 0)
	for i, p := range plans {
		ms, _ := o.MeasureLatency(context.Background(), nil, &config.Config{HiddenSize: 24}, p.TargetStep().Shapes, dense)
		if share := ms / dense; math.Abs(share-o.Targets[i]) > 0.03 {
			t.Errorf("want %v of the dense model's latency, got %.3f", o.Targets[i], share)
		}
	}
	first, err := os.ReadFile(filepath.Join(TargetDir(o.Out, 0.6), planFile))
	if err != nil {
		t.Fatal(err)
	}
	calls = 0
	o.Resume = true
	mustRun(t, o)
	again, err := os.ReadFile(filepath.Join(TargetDir(o.Out, 0.6), planFile))
	if err != nil || string(again) != string(first) || calls != 0 {
		t.Errorf("want the same plan without a measurement, got %d measurements, %v", calls, err)
	}
	// A plan says whether its latency was measured.
	o.Out, o.Resume, o.LatencyPredicted = t.TempDir(), false, true
	for i, p := range mustRun(t, o) {
		said := func(p *plan.Plan) bool { return strings.HasSuffix(p.TargetStep().Forced, ", predicted") }
		if !said(p) || said(plans[i]) {
			t.Errorf("want only the second plan predicted, got %q and %q", plans[i].TargetStep().Forced, p.TargetStep().Forced)
		}
	}
}

// Methods without a path meet a target of the latency by the number of parameters that they
// remove, and say where it is out of reach.
func TestTargetLatencyAtOnce(t *testing.T) {
	o := tinyOptions(t, tinyModel(t, 1, nil))
	calls := 0
	o.Method, o.Criterion, o.TargetLatency, o.Targets, o.MeasureLatency = "wanda-sp", "", true, []float64{0.9, 0.7}, byParams(&calls)
	plans := mustRun(t, o)
	dense, _ := o.MeasureLatency(context.Background(), nil, &config.Config{HiddenSize: 24}, plans[0].Base.Shapes, 0)
	for i, p := range plans {
		ms, _ := o.MeasureLatency(context.Background(), nil, &config.Config{HiddenSize: 24}, p.TargetStep().Shapes, dense)
		// A neuron of each layer is 0.055 of this small model's latency.
		if share := ms / dense; share > o.Targets[i]+latencyTolerance || share < o.Targets[i]-0.055 {
			t.Errorf("want %v of the dense model's latency, got %.3f", o.Targets[i], share)
		}
	}
	o.Out, o.Targets = t.TempDir(), []float64{0.01}
	if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), "target latency 0.01: method wanda-sp can remove") {
		t.Errorf("out of reach: want a refusal, got %v", err)
	}
}

// The number of parameters for a target is found on a line in two steps, and on curves too.
func TestNextBudget(t *testing.T) {
	for _, c := range []struct {
		name    string
		models  int // that may be measured
		latency func(x float64) float64
	}{
		{"line", 3, func(x float64) float64 { return 1 - 0.9*x }},
		{"slow at first", 20, func(x float64) float64 { return 1 - x*x }},
		{"steps", 20, func(x float64) float64 { return 1 - math.Floor(x*40)/40 }},
		{"nothing at first", 20, func(x float64) float64 { return 1 - max(0, x-0.5) }},
	} {
		slow, fast := trial{share: 1}, trial{budget: math.Inf(1)}
		x, n := 0.3, 1
		for ; n <= c.models; n++ {
			y := c.latency(x)
			if math.Abs(y-0.7) <= latencyTolerance {
				break
			}
			if y > 0.7 {
				slow = trial{budget: x, share: y}
			} else {
				fast = trial{budget: x, share: y}
			}
			if x = nextBudget(slow, fast, 0.7); !(x > slow.budget && x < fast.budget) {
				t.Fatalf("%s: want a number between %v and %v, got %v", c.name, slow.budget, fast.budget, x)
			}
		}
		if n > c.models {
			t.Errorf("%s: want the target met by %d models", c.name, c.models)
		}
	}
}

// A depth step and a width step remove about the same parameters. Where attention costs
// nothing, the criterion prefers what removes neurons.
func TestLatencyCriterionUsesTheLatency(t *testing.T) {
	kinds := func(attention, mlp float64) string {
		o := tinyOptions(t, tinyModel(t, 1, nil))
		o.Criterion, o.Targets = "latency", []float64{0.2}
		o.PredictLatency = func(_ context.Context, _ device.Device, base *config.Config, layers []config.LayerShape, _ float64) (float64, error) {
			ms := 1.0
			for _, s := range layers {
				ms += attention*float64(s.AttentionParams(base.HiddenSize)) + mlp*float64(s.MLPParams(base.HiddenSize)) + 5
			}
			return ms, nil
		}
		text := ""
		for _, s := range mustRun(t, o)[0].Steps {
			text += string(s.Kind) + " "
		}
		return text
	}
	// Time by layers alone: width steps gain nothing and lose.
	if got := kinds(0, 0); strings.Contains(got, "width") {
		t.Errorf("want depth steps only where only the number of layers costs time, got %s", got)
	}
}

func TestLatencyIsValidated(t *testing.T) {
	o := tinyOptions(t, tinyModel(t, 1, nil))
	o.Criterion = "latency"
	if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), "want a latency table or a device") {
		t.Errorf("want a refusal, got %v", err)
	}
	o.Criterion, o.TargetLatency = "kl", true
	if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), "target latency") {
		t.Errorf("want a refusal, got %v", err)
	}
}
