package plan

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"mop/runtime/config"
)

// The lowest scores go first whatever their layer and kind, and every layer keeps one KV
// head and one neuron.
func TestPruneAcrossLayers(t *testing.T) {
	c := &config.Config{VocabSize: 10, HiddenSize: 4, Layers: []Shape{{Heads: 2, KVHeads: 1, HeadDim: 2, Intermediate: 3}, {Heads: 4, KVHeads: 2, HeadDim: 2, Intermediate: 2}}}
	scores := &Scores{Heads: [][]float64{{-9, -9}, {1, 3, -4, -2}}, Neurons: [][]float64{{5, -1, 0}, {-8, -7}}}
	// A neuron has 12 parameters, a KV head with its query heads 48.
	for _, x := range []struct {
		budget  float64
		kvHeads [2][]int
		neurons [2][]int
	}{
		{1, [2][]int{{0}, {0, 1}}, [2][]int{{0, 1, 2}, {1}}},
		{12, [2][]int{{0}, {0, 1}}, [2][]int{{0, 1, 2}, {1}}},
		{13, [2][]int{{0}, {0, 1}}, [2][]int{{0, 2}, {1}}}, // the KV head of -3 is too large
		{60, [2][]int{{0}, {0}}, [2][]int{{0, 1, 2}, {1}}},
		{84, [2][]int{{0}, {0}}, [2][]int{{0}, {1}}},
	} {
		s, err := New(c).PruneAcrossLayers(4, x.budget, scores)
		if err != nil {
			t.Fatalf("%v: %v", x.budget, err)
		}
		for l, y := range s.Layers {
			if !reflect.DeepEqual(y.KVHeads, x.kvHeads[l]) || !reflect.DeepEqual(y.Neurons, x.neurons[l]) {
				t.Errorf("%v: layer %d: want %v and %v, got %v and %v", x.budget, l, x.kvHeads[l], x.neurons[l], y.KVHeads, y.Neurons)
			}
		}
		if err := s.Check(c.Layers); err != nil {
			t.Error(err)
		}
	}
	if _, err := New(c).PruneAcrossLayers(4, 85, scores); !errors.Is(err, ErrWidth) || !strings.Contains(err.Error(), "85 parameters") {
		t.Errorf("got %v", err)
	}
	if got, want := New(c).AcrossLayersReach(c), 84/float64(c.Params()); got < want-1e-12 || got > want+1e-12 {
		t.Errorf("want a reach of %v, got %v", want, got)
	}
}

// A plan with chosen layers is checked by them.
func TestPlanOfChosenLayers(t *testing.T) {
	c := &config.Config{VocabSize: 10, HiddenSize: 4, Layers: []Shape{{Heads: 2, KVHeads: 2, HeadDim: 2, Intermediate: 3}, {Heads: 1, KVHeads: 1, HeadDim: 2, Intermediate: 2}}}
	s, err := New(c).PruneLayer(0)
	if err != nil {
		t.Fatal(err)
	}
	p := NewPlan(c, Options{Rule: "exact", Allocation: Uniform, RoundTo: 1, HeadsMultiple: 1})
	zero := 0
	p.Add(c, s, Depth, "", nil).Layer = &zero
	p.Step, p.Target, p.Layers = 1, 0.5, s.Layers
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	for layer, says := range map[int]string{1: "removes layer 1", 2: "want 0 to 1, got 2", -1: "want 0 to 1, got -1"} {
		p.Steps[0].Layer = &layer
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("layer %d: got %v", layer, err)
		}
	}
	if p.Steps[0].Layer = nil; p.Check() == nil {
		t.Error("want the third-to-last layer of two refused")
	}
	if _, err := s.PruneLayer(0); err == nil || !strings.Contains(err.Error(), "last layer") {
		t.Errorf("got %v", err)
	}
	if _, err := New(c).PruneLayer(2); err == nil {
		t.Error("want layer 2 of two refused")
	}
}
