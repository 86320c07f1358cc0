package prune

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/internal/testutil"
	"mop/prune/plan"
)

// A finished target whose weights were cut, changed or exchanged is written again when the
// run is resumed.
func TestResumeChecksWeights(t *testing.T) {
	o := tinyOptions(t, tinyModel(t, 1, nil))
	mustRun(t, o)
	before := testutil.ReadTree(t, o.Out)
	o.Resume = true
	dir := TargetDir(o.Out, o.Targets[0])
	path := filepath.Join(dir, "model.safetensors")
	for name, change := range map[string]func() error{
		"cut": func() error { return os.Truncate(path, 4000) },
		"changed": func() error {
			data, err := os.ReadFile(path)
			data[len(data)-9] ^= 1
			return errors.Join(err, os.WriteFile(path, data, 0o666))
		},
		"exchanged": func() error {
			other, err := os.ReadFile(filepath.Join(o.Model, "model.safetensors"))
			return errors.Join(err, os.WriteFile(path, other, 0o666))
		},
		"removed": func() error { return os.Remove(path) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		mustRun(t, o)
		testutil.CheckSameTree(t, name, before, testutil.ReadTree(t, o.Out), 1)
	}
}

// Scores that are not finite are refused by the name of what has them.
func TestScoresNotFinite(t *testing.T) {
	s := &plan.Scores{Heads: [][]float64{{1, 2}, {3}}, Neurons: [][]float64{{1}, {2, 3, math.NaN()}}}
	if err := checkScores(s); err == nil || !strings.Contains(err.Error(), "layer 1: the score of neuron 2 is NaN") {
		t.Errorf("got %v", err)
	}
	s.Neurons[1][2] = 4
	if err := checkScores(s); err != nil {
		t.Error(err)
	}
	s.Heads[0][1] = math.Inf(1)
	if err := checkScores(s); err == nil || !strings.Contains(err.Error(), "layer 0: the score of head 1 is +Inf") {
		t.Errorf("got %v", err)
	}
}
