package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// prune --plan makes the same files as the run that the plan came from, from the plan
// alone, and refuses flags that would change what the plan decided.
func TestPruneByPlan(t *testing.T) {
	dir := t.TempDir()
	first, again := filepath.Join(dir, "first"), filepath.Join(dir, "again")
	if _, err := mop(t, "", "prune", "--model", demoDir, "--out", first, "--targets", "0.05", "--sequence", "LG", "--calibration", "../../bench/demo/text/calibration.jsonl",
		"--prompts", "1", "--hf-type", "mistral"); err != nil {
		t.Fatal(err)
	}
	plan := filepath.Join(first, "0.05", "plan.json")
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	out, err := mop(t, "", "prune", "--model", demoDir, "--out", again, "--plan", plan, "--device", "cuda", "--seed", "3", "--threads", "1")
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "--device, --seed\"") {
		t.Errorf("want a line on what is not used, got %q", log.String())
	}
	if err != nil || !strings.HasPrefix(out, filepath.Join(again, "0.05")+"  step ") {
		t.Fatalf("got %q, %v", out, err)
	}
	files, err := os.ReadDir(filepath.Dir(plan))
	if err != nil || len(files) < 4 {
		t.Fatalf("want a model, got %v, %v", files, err)
	}
	for _, f := range files {
		want, _ := os.ReadFile(filepath.Join(first, "0.05", f.Name()))
		if got, err := os.ReadFile(filepath.Join(again, "0.05", f.Name())); err != nil || string(got) != string(want) {
			t.Errorf("%s differs, %v", f.Name(), err)
		}
	}
	if config, _ := os.ReadFile(filepath.Join(again, "0.05", "config.json")); !strings.Contains(string(config), "MistralForCausalLM") {
		t.Errorf("want a Mistral, got %s", config)
	}
	for _, args := range [][]string{{"--targets", "0.2"}, {"--rule", "paper"}, {"--text", "x"}} {
		_, err := mop(t, "", append([]string{"prune", "--model", demoDir, "--out", filepath.Join(dir, "x"), "--plan", plan}, args...)...)
		if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), args[0]) {
			t.Errorf("%v: want wrong use, got %v", args, err)
		}
	}
}
