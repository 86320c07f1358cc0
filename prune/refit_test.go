package prune

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/internal/testutil"
	"mop/prune/plan"
	"mop/runtime/checkpoint"
)

// With Refit, only o_proj and down_proj of the targets' models differ, refit.json says how,
// and no matrix has a larger error on the held-out prompts. A run that is resumed with it
// writes the model again; a plan alone cannot make it again.
func TestRefit(t *testing.T) {
	model := tinyModel(t, 1, nil)
	o := tinyOptions(t, model)
	o.Prompts, o.Criterion, o.Sequence, o.Text = 10, "sequence", "LGGGG", ""
	mustRun(t, o)
	plain := testutil.ReadTree(t, o.Out)
	o.Refit, o.Resume = true, true
	plans := mustRun(t, o)
	dir := TargetDir(o.Out, plans[len(plans)-1].Target)
	text, err := os.ReadFile(filepath.Join(dir, refitFile))
	if err != nil {
		t.Fatal(err)
	}
	var report refitReport
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	if report.Tokens == 0 || report.HeldOut == 0 || len(report.Matrices) == 0 {
		t.Errorf("got %+v", report)
	}
	changed := 0
	for _, m := range report.Matrices {
		if m.After > m.Before {
			t.Errorf("layer %d: %s: the error grows from %v to %v", m.Layer, m.Matrix, m.Before, m.After)
		}
		if m.Damping != nil {
			changed++
		}
	}
	if changed == 0 {
		t.Error("no matrix was refitted")
	}
	before := filepath.Join(t.TempDir(), "before")
	if err := os.MkdirAll(before, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, content := range plain {
		if rest, ok := strings.CutPrefix(name, filepath.Base(dir)+"/"); ok {
			if err := os.WriteFile(filepath.Join(before, rest), []byte(content), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	a, b := must(checkpoint.Open(before)), must(checkpoint.Open(dir))
	defer a.Close()
	defer b.Close()
	different := 0
	for _, info := range checkpoint.ExpectedTensors(b.Config()) {
		x, y := must(a.Tensor(info.Name)), must(b.Tensor(info.Name))
		if string(x.Data) == string(y.Data) {
			continue
		}
		different++
		if !strings.Contains(info.Name, "o_proj") && !strings.Contains(info.Name, "down_proj") {
			t.Errorf("%s differs", info.Name)
		}
	}
	if different != changed {
		t.Errorf("want %d matrices to differ, got %d", changed, different)
	}
	file := filepath.Join(dir, planFile)
	if p := must(plan.Load(file)); p.Settings[RefitSetting] != true {
		t.Errorf("settings: got %v", p.Settings)
	}
	if _, err := Replay(context.Background(), ReplayOptions{Plans: []string{file}, Model: model, Out: filepath.Join(t.TempDir(), "again")}); err == nil || !strings.Contains(err.Error(), "was refitted on text") {
		t.Errorf("a replay: got %v", err)
	}

	// A run of its own ends in the same bytes.
	want := models(testutil.ReadTree(t, o.Out))
	o.Out, o.Resume = filepath.Join(t.TempDir(), "whole"), false
	mustRun(t, o)
	testutil.CheckSameTree(t, "files", want, models(testutil.ReadTree(t, o.Out)), 1)
}

// The scores of heads and neurons are part of what a run is.
func TestScoresAreIdentity(t *testing.T) {
	o := tinyOptions(t, tinyModel(t, 1, nil))
	o.NeuronScore = "wanda"
	plans := mustRun(t, o)
	if got := plans[0].Settings["score"]; got != "amp+wanda" {
		t.Errorf("want amp+wanda in the plan, got %v", got)
	}
	o.Resume, o.HeadScore = true, "wanda"
	if _, err := Run(context.Background(), o); err == nil {
		t.Error("want a run with another score to be refused")
	}
}

// Too few prompts for a refit are refused before the path is computed.
func TestRefitOfFewPrompts(t *testing.T) {
	o := tinyOptions(t, tinyModel(t, 1, nil))
	o.Prompts, o.Criterion, o.Sequence, o.Text, o.Refit = 4, "sequence", "LGGGG", "", true
	testutil.CheckError(t, "check", Check(o), o.Calibration+": refit: want at least 5 prompts")
	_, err := Run(context.Background(), o)
	testutil.CheckError(t, "run", err, o.Calibration+": refit: want at least 5 prompts")
	if _, err := os.Stat(o.Out); err == nil {
		t.Error("a refused run has made the directory")
	}
}
