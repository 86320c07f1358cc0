package prune

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
