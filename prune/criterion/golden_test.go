package criterion_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"testing"

	"mop/prune/criterion"
	"mop/prune/plan"
	"mop/prune/surgery"
	"mop/runtime/checkpoint"
	"mop/runtime/dataset"
	"mop/runtime/device/cpu"
	"mop/runtime/metric"
	"mop/runtime/model"
)

// Every scorer, applied to a model without its first layer, agrees with
// testdata/criteria.py, which uses the logits of transformers.
func TestGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/criteria.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Model   string
		Windows [][]int
		KL      float64
		Cosine  float64
		Hidden  float64 `json:"cosine-hidden"`
		PPL     float64
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	base, err := checkpoint.Open("../../runtime/model/testdata/" + golden.Model)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	specs, c, err := surgery.Specs(base, plan.New(base.Config()).Layers[1:])
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir() + "/cut"
	if err := checkpoint.Save(dir, c, specs, checkpoint.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	cut, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer cut.Close()
	dev, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	original, err := model.Load(dev, base)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.Load(dev, cut)
	if err != nil {
		t.Fatal(err)
	}
	var windows []dataset.Window
	for _, tokens := range golden.Windows {
		windows = append(windows, dataset.Window{Tokens: tokens, FirstScored: 1})
	}
	reference, err := metric.NewLiveReference(original, windows)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"kl": golden.KL, "cosine": golden.Cosine, "cosine-hidden": golden.Hidden, "ppl": golden.PPL, "latency": golden.KL / 4}
	for _, scorer := range criterion.Scorers() {
		name := scorer.Name()
		got, err := scorer.Score(context.Background(), criterion.Candidate{Model: m, Windows: windows, Reference: reference, LatencyMS: 6, DenseLatencyMS: 10})
		if err != nil {
			t.Fatal(err)
		}
		if want[name] == 0 || !(math.Abs(got-want[name]) <= 1e-5*math.Max(1, want[name])) {
			t.Errorf("%s: want %v, got %v", name, want[name], got)
		}
		t.Logf("%s: %v, %.2g off", name, got, got-want[name])
	}
}
