package main

import (
	"math"
	"path/filepath"
	"testing"

	"mop/prune/plan"
	"mop/runtime/config"
)

func TestPairsAreOddRoundAndEqual(t *testing.T) {
	for _, name := range config.PresetNames() {
		dir := t.TempDir()
		if err := run([]string{name, dir}); err != nil {
			t.Fatal(err)
		}
		round, err := plan.Load(filepath.Join(dir, "round.json"))
		if err != nil {
			t.Fatal(err)
		}
		odd, err := plan.Load(filepath.Join(dir, "odd.json"))
		if err != nil {
			t.Fatal(err)
		}
		seen := map[int]bool{}
		for l, s := range odd.Steps[0].Shapes {
			if s.Intermediate%2 != 1 || seen[s.Intermediate] {
				t.Errorf("%s: layer %d: want an odd width of its own, got %d", name, l, s.Intermediate)
			}
			seen[s.Intermediate] = true
			if r := round.Steps[0].Shapes[l].Intermediate; r%64 != 0 || r != round.Steps[0].Shapes[0].Intermediate {
				t.Errorf("%s: layer %d: want one multiple of 64, got %d", name, l, r)
			}
		}
		a, b := round.Steps[0].Params, odd.Steps[0].Params
		if math.Abs(float64(a-b)) > 1e-6*float64(a) {
			t.Errorf("%s: want equal parameters, got %d and %d", name, a, b)
		}
	}
	if err := run([]string{"gpt-5", t.TempDir()}); err == nil {
		t.Error("unknown preset: want an error")
	}
}
