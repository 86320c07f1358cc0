package score_test

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mop/prune/score"
	"mop/runtime/checkpoint"
	"mop/runtime/device/cpu"
	"mop/runtime/model"
)

// golden calls each with every model and its prompts of testdata/scores.json.
func golden(t *testing.T, each func(m *model.Model, src checkpoint.Source, prompts [][]int, scores map[string]struct{ Heads, Neurons [][]float64 })) {
	t.Helper()
	text, err := os.ReadFile("testdata/scores.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Cases []struct {
			Model   string
			Prompts [][]int
			Scores  map[string]struct{ Heads, Neurons [][]float64 }
		}
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Cases) < 3 {
		t.Fatalf("want 3 golden cases, got %d", len(all.Cases))
	}
	dev, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	for _, g := range all.Cases {
		src, err := checkpoint.Open("../../runtime/model/testdata/" + g.Model)
		if err != nil {
			t.Fatal(err)
		}
		m, err := model.Load(dev, src)
		if err != nil {
			t.Fatal(err)
		}
		each(m, src, g.Prompts, g.Scores)
		m.Close()
		src.Close()
	}
}

// The scores agree with testdata/scores.py, which uses the activations of transformers.
func TestMethodsGolden(t *testing.T) {
	golden(t, func(m *model.Model, src checkpoint.Source, prompts [][]int, want map[string]struct{ Heads, Neurons [][]float64 }) {
		for name, w := range want {
			method, err := score.ByName(name)
			if err != nil {
				t.Fatal(err)
			}
			got, err := score.Measure(t.Context(), method, m, score.Calibration{Prompts: prompts, Weights: src})
			if err != nil {
				t.Fatal(err)
			}
			compare(t, name+": head", got.Heads, w.Heads)
			compare(t, name+": neuron", got.Neurons, w.Neurons)
		}
	})
}

// Heads and neurons may have scores of different kinds.
func TestCombinedScores(t *testing.T) {
	golden(t, func(m *model.Model, src checkpoint.Source, prompts [][]int, want map[string]struct{ Heads, Neurons [][]float64 }) {
		method, err := score.New(score.Options{Heads: "flap", Neurons: "magnitude"})
		if err != nil || method.Name() != "flap+magnitude" {
			t.Fatalf("got %v, %v", method, err)
		}
		got, err := score.Measure(t.Context(), method, m, score.Calibration{Prompts: prompts, Weights: src})
		if err != nil {
			t.Fatal(err)
		}
		compare(t, "head", got.Heads, want["flap"].Heads)
		compare(t, "neuron", got.Neurons, want["magnitude"].Neurons)
		if _, err := score.Measure(t.Context(), method, m, score.Calibration{Prompts: prompts}); err == nil || !strings.Contains(err.Error(), "stored weights") {
			t.Errorf("without weights: got %v", err)
		}
	})
}

// Random scores depend on the seed and are no two alike.
func TestRandomScores(t *testing.T) {
	golden(t, func(m *model.Model, _ checkpoint.Source, prompts [][]int, _ map[string]struct{ Heads, Neurons [][]float64 }) {
		measure := func(seed uint64) [][]float64 {
			method, err := score.New(score.Options{Heads: "random", Neurons: "random", Seed: seed})
			if err != nil {
				t.Fatal(err)
			}
			s, err := score.Measure(t.Context(), method, m, score.Calibration{Prompts: prompts[:1]})
			if err != nil {
				t.Fatal(err)
			}
			return s.Neurons
		}
		a := measure(1)
		if !reflect.DeepEqual(a, measure(1)) || reflect.DeepEqual(a, measure(2)) {
			t.Error("want the seed to decide")
		}
		all := slices.Concat(a...)
		slices.Sort(all)
		if n := len(all); len(slices.Compact(all)) != n || all[0] < 0 || all[n-1] >= 1 {
			t.Error("want different numbers in [0, 1)")
		}
	})
}

func TestUnknownScore(t *testing.T) {
	for _, o := range []score.Options{{Heads: "x"}, {Neurons: "x"}} {
		if _, err := score.New(o); err == nil || !strings.Contains(err.Error(), "want one of amp, wanda, flap, magnitude, taylor, random") {
			t.Errorf("got %v", err)
		}
	}
}

// The scores of heads may come from gradients and those of neurons from activations.
func TestTaylorCombined(t *testing.T) {
	golden(t, func(m *model.Model, src checkpoint.Source, prompts [][]int, want map[string]struct{ Heads, Neurons [][]float64 }) {
		method, err := score.New(score.Options{Heads: "taylor", Neurons: "wanda"})
		if err != nil {
			t.Fatal(err)
		}
		got, err := score.Measure(t.Context(), method, m, score.Calibration{Prompts: prompts, Weights: src})
		if err != nil {
			t.Fatal(err)
		}
		compare(t, "head", got.Heads, want["taylor"].Heads)
		compare(t, "neuron", got.Neurons, want["wanda"].Neurons)
		taylor, err := score.ByName("taylor")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := score.Measure(t.Context(), taylor, m, score.Calibration{Prompts: [][]int{{1}}, Weights: src}); err == nil || !strings.Contains(err.Error(), "two tokens") {
			t.Errorf("prompts of one token: got %v", err)
		}
	})
}
