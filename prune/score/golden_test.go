package score_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"testing"

	"mop/prune/score"
	"mop/runtime/checkpoint"
	"mop/runtime/device/cpu"
	"mop/runtime/model"
)

// Every head's and neuron's score agrees with testdata/amp.py, which uses the activations
// of transformers, within a relative error of 1e-4.
func TestAMPGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/amp.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Model      string
			Prompts    [][]int
			Heads, MLP [][]float64
		}
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) < 3 {
		t.Fatalf("want 3 golden cases, got %d", len(golden.Cases))
	}
	dev, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	for _, g := range golden.Cases {
		src, err := checkpoint.Open("../../runtime/model/testdata/" + g.Model)
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		m, err := model.Load(dev, src)
		if err != nil {
			t.Fatal(err)
		}
		got, err := score.Measure(context.Background(), score.AMP(), m, score.Calibration{Prompts: g.Prompts})
		if err != nil {
			t.Fatal(err)
		}
		compare(t, g.Model+": head", got.Heads, g.Heads)
		compare(t, g.Model+": neuron", got.Neurons, g.MLP)
	}
}

func compare(t *testing.T, what string, got, want [][]float64) {
	t.Helper()
	if len(got) != len(want) || len(want) == 0 {
		t.Fatalf("%s: want %d layers, got %d", what, len(want), len(got))
	}
	worst := 0.0
	for l := range want {
		if len(got[l]) != len(want[l]) {
			t.Fatalf("%s: layer %d: want %d scores, got %d", what, l, len(want[l]), len(got[l]))
		}
		for i, w := range want[l] {
			off := math.Abs(got[l][i]-w) / w
			worst = max(worst, off)
			if !(off <= 1e-4) {
				t.Errorf("%s %d of layer %d: want %v, got %v", what, i, l, w, got[l][i])
			}
		}
	}
	t.Logf("%s: worst %.2g of the score", what, worst)
}
