package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/prune/plan"
)

// From a sweep to predicted plans, a verified one and a validated one, on the demo's
// model. No time decides anything: the machine may be busy.
func TestFromSweepToValidatedPlan(t *testing.T) {
	dir := t.TempDir()
	table, file := filepath.Join(dir, "table.json"), filepath.Join(dir, "plan.json")
	cpu := []string{"--device", "cpu", "--threads", "1"}
	out, err := mop(t, "", append([]string{"sweep", "--model", demoDir, "--what", "prompt", "--out", table, "--visits", "1", "--visit-time", "0s", "--limit", "0s", "--report", filepath.Join(dir, "report")}, cpu...)...)
	if err != nil || !strings.Contains(out, "a neuron costs") {
		t.Fatalf("got %q, %v", out, err)
	}
	for _, name := range []string{"sweep.md", "mlp-decode.png", "heads-prefill.svg", "context.png", "roofline.png"} {
		if _, err := os.Stat(filepath.Join(dir, "report", name)); err != nil {
			t.Error(err)
		}
	}
	out, err = mop(t, "", "plan", "--model", demoDir, "--sequence", "LGLG", "--latency", table, "--in", "12", "--out-tokens", "8", "--json")
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Parse([]byte(out))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Steps {
		if p.Base.LatencyMS <= 0 || s.LatencyMS <= 0 {
			t.Errorf("step %d: want predicted times, got %v and %v for the base", s.Step, s.LatencyMS, p.Base.LatencyMS)
		}
	}
	if err := os.WriteFile(file, []byte(out), 0o666); err != nil {
		t.Fatal(err)
	}
	out, err = mop(t, "", append([]string{"plan", "--model", demoDir, "--criterion", "random", "--target", "0.2", "--latency", table, "--out-tokens", "4", "--verify", "2", "--json"}, cpu...)...)
	var v struct {
		Models []struct {
			Predicted float64 `json:"predicted_ms"`
			Measured  float64 `json:"measured_ms"`
		}
	}
	if err != nil || json.Unmarshal([]byte(out), &v) != nil || len(v.Models) != 2 || v.Models[0].Predicted <= 0 || v.Models[1].Measured <= 0 {
		t.Errorf("want two plans with predicted and measured times, got %q, %v", out, err)
	}
	if out, err = mop(t, "", append([]string{"validate", file, "--latency", table, "--out-tokens", "4"}, cpu...)...); err != nil || !strings.Contains(out, "Where the time goes") {
		t.Errorf("got %q, %v", out, err)
	}
	for want, args := range map[string][]string{
		"--latency TABLE":          {"plan", "--model", demoDir, "--sequence", "L", "--round-to", "auto"},
		"need --latency":           {"plan", "--model", demoDir, "--sequence", "L", "--batch", "2"},
		"want all, prefill or":     {"plan", "--model", demoDir, "--sequence", "L", "--latency", table, "--part", "half"},
		"what: want all, or":       {"sweep", "--model", demoDir, "--what", "width", "--out", table},
		"--target-latency needs":   {"search", "--model", demoDir, "--out", dir, "--target-latency", "0.5"},
		"want either":              {"search", "--model", demoDir, "--out", dir},
		"give one of them":         {"prune", "--model", demoDir, "--out", dir, "--targets", "0.2", "--target-latency", "0.8"},
		"want a number or auto":    {"plan", "--model", demoDir, "--sequence", "L", "--round-to", "some"},
		"want a number of plans":   {"plan", "--model", demoDir, "--sequence", "L", "--verify", "3"},
		"--latency is required":    {"validate", file},
		"need --criterion latency": {"prune", "--model", demoDir, "--out", dir, "--batch", "4"},
	} {
		if _, err := mop(t, "", args...); !errors.Is(err, errUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want wrong use and %q, got %v", args, want, err)
		}
	}
	// A table of another model is refused by every command that reads it.
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte(`{"version":1}`), 0o666); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"preset:smollm2-135m " + table: "the latency table is of",
		demoDir + " " + other:          "want a latency table that mop sweep wrote",
	} {
		model, file, _ := strings.Cut(args, " ")
		if _, err := mop(t, "", "plan", "--model", model, "--sequence", "L", "--latency", file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
