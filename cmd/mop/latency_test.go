package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/prune/plan"
	"mop/runtime/predict"
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
	checkPredictedTarget(t, table)
	for want, args := range map[string][]string{
		"--measure=false: want":           {"prune", "--model", demoDir, "--out", dir, "--target-latency", "0.8", "--measure=false"},
		"--measure=false: want --target":  {"prune", "--model", demoDir, "--out", dir, "--targets", "0.2", "--latency", table, "--measure=false"},
		"--latency TABLE":                 {"plan", "--model", demoDir, "--sequence", "L", "--round-to", "auto"},
		"need --latency":                  {"plan", "--model", demoDir, "--sequence", "L", "--batch", "2"},
		"want all, prefill or":            {"plan", "--model", demoDir, "--sequence", "L", "--latency", table, "--part", "half"},
		"what: want all, or":              {"sweep", "--model", demoDir, "--what", "width", "--out", table},
		"--target-latency needs":          {"search", "--model", demoDir, "--out", dir, "--target-latency", "0.5"},
		"want either":                     {"search", "--model", demoDir, "--out", dir},
		"give one of them":                {"prune", "--model", demoDir, "--out", dir, "--targets", "0.2", "--target-latency", "0.8"},
		"nothing uses the table":          {"prune", "--model", demoDir, "--out", dir, "--calibration", "x", "--latency", table},
		"want a number or auto":           {"plan", "--model", demoDir, "--sequence", "L", "--round-to", "some"},
		"want a number of plans":          {"plan", "--model", demoDir, "--sequence", "L", "--verify", "3"},
		"--latency is required":           {"validate", file},
		"--target-latency: want shares":   {"search", "--model", demoDir, "--out", dir, "--target-latency", "-0.5", "--latency", table},
		"shares of the dense model":       {"prune", "--model", demoDir, "--out", dir, "--target-latency", "1.5"},
		"--target-bytes needs none":       {"search", "--model", demoDir, "--out", dir, "--target-bytes", "0.5", "--latency", table},
		"--time and --generations":        {"search", "--model", demoDir, "--out", dir, "--target-bytes", "0.5", "--time", "1m", "--generations", "3"},
		"give --short-recovery":           {"search", "--model", demoDir, "--out", dir, "--target-bytes", "0.5", "--recover", "rows"},
		"at most 512 positions":           {"plan", "--model", demoDir, "--sequence", "L", "--latency", table, "--in", "500"},
		"want at most 512 positions, the": {"search", "--model", demoDir, "--out", dir, "--target-latency", "0.5", "--latency", table, "--in", "500"},
		"need --criterion latency":        {"prune", "--model", demoDir, "--out", dir, "--batch", "4"},
	} {
		if _, err := mop(t, "", args...); !errors.Is(err, errUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want wrong use and %q, got %v", args, want, err)
		}
	}
	checkTableKVTypes(t, table, file, cpu)
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

// With --measure=false the table's prediction meets the target.
func checkPredictedTarget(t *testing.T, table string) {
	t.Helper()
	out := t.TempDir()
	if _, err := mop(t, "", "prune", "--model", demoDir, "--out", out, "--method", "magnitude", "--target-latency", "0.8", "--latency", table, "--measure=false", "--device", "cpu"); err != nil {
		t.Fatal(err)
	}
	p, err := plan.Load(filepath.Join(out, "0.80", "plan.json"))
	if err != nil {
		t.Fatal(err)
	}
	latencies, err := predict.Load(table)
	if err != nil {
		t.Fatal(err)
	}
	predictor, err := latencies.Predictor(predict.Workload{In: 12, Out: 128, Batch: 1})
	if err != nil {
		t.Fatal(err)
	}
	if share := predictor.Latency(p.TargetStep().Shapes) / predictor.Latency(p.Base.Shapes); share < 0.75 || share > 0.805 {
		t.Errorf("want 0.8 of the predicted latency or a little less, got %.3f", share)
	}
}

// A table says with which KV cache it was measured, and every command that measures or predicts
// by it refuses another one. Tables of former versions have float32.
func checkTableKVTypes(t *testing.T, table, planFile string, cpu []string) {
	t.Helper()
	text, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	var former map[string]any
	if err := json.Unmarshal(text, &former); err != nil {
		t.Fatal(err)
	}
	m := former["machine"].(map[string]any)
	if m["cache_type"] != "f16" || m["cache_element"] != 2.0 {
		t.Errorf("want a table of float16, the default of mop bench, got %v", m)
	}
	delete(m, "cache_type")
	m["cache_element"] = 4
	old := filepath.Join(filepath.Dir(table), "old.json")
	if text, err = json.Marshal(former); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, text, 0o666); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(filepath.Dir(table), "out")
	verify := []string{"plan", "--model", demoDir, "--criterion", "random", "--target", "0.2", "--out-tokens", "4", "--verify", "1"}
	searched := []string{"search", "--model", demoDir, "--out", out, "--target-latency", "0.8", "--calibration", "x", "--text", "x"}
	pruned := []string{"prune", "--model", demoDir, "--out", out, "--criterion", "latency", "--calibration", "x", "--text", "x"}
	for _, c := range []struct {
		table, want string
		args        []string
	}{
		{old, "KV cache of type f32, not f16: give --kv-type f32", verify},
		{table, "KV cache of type f16, not f32", append(verify, "--kv-type", "f32")},
		{old, "type f32, not f16", []string{"validate", planFile}},
		{old, "type f32, not int8", []string{"validate", planFile, "--measure=false", "--kv-type", "int8"}},
		{table, "type f16, not int8", []string{"plan", "--model", demoDir, "--sequence", "L", "--kv-type", "int8"}},
		{old, "type f32, not f16", searched},
		{table, "type f16, not f32", append(searched, "--measure=false", "--kv-type", "f32")},
		{table, "type f16, not f32", append(pruned, "--kv-type", "f32")},
		{old, "type f32, not f16", append(pruned[:len(pruned):len(pruned)], "--kv-type", "f16")},
	} {
		_, err := mop(t, "", append(append(c.args[:len(c.args):len(c.args)], "--latency", c.table), cpu...)...)
		if err == nil || errors.Is(err, errUsage) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.table) {
			t.Errorf("%v: want %q, got %v", c.args, c.want, err)
		}
	}
	if out, err := mop(t, "", append(append(verify, "--kv-type", "f32", "--latency", old), cpu...)...); err != nil {
		t.Errorf("the table's own type: want a verification, got %q, %v", out, err)
	}
	for want, args := range map[string][]string{
		"kv-type: want one of f32": {"search", "--model", demoDir, "--out", out, "--target-latency", "0.8", "--kv-type", "f64"},
		"only the CPU supports it": {"compare", "--model", demoDir, "--out", out, "--methods", "depth", "--kv-type", "f32", "--device", "cuda"},
		"need --criterion latency": {"prune", "--model", demoDir, "--out", out, "--kv-type", "f32"},
		"need --latency TABLE":     {"plan", "--model", demoDir, "--sequence", "L", "--kv-type", "f32"},
	} {
		if _, err := mop(t, "", args...); !errors.Is(err, errUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want wrong use and %q, got %v", args, want, err)
		}
	}
}
