package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/runtime/checkpoint"
)

// A model is trained on the demo's calibration stories and better on them after
// it; what it is cut from and an adapter come along.
func TestRecoverCommand(t *testing.T) {
	dir := t.TempDir()
	out, adapter, log := filepath.Join(dir, "out"), filepath.Join(dir, "adapter"), filepath.Join(dir, "log.jsonl")
	rows, err := os.ReadFile("demo/text/calibration.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "rows.jsonl")
	if err := os.WriteFile(data, []byte(strings.Join(strings.SplitAfter(string(rows), "\n")[:3], "")+"{\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	args := []string{"recover", "--model", demoDir, "--data", data, "--out", out, "--steps", "3", "--rank", "2", "--batch", "2",
		"--lr", "1e-3", "--save-adapter", adapter, "--log", log, "--json"}
	text, err := mop(t, "", args...)
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Steps   int
		Skipped []struct{ Row int }
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil || r.Steps != 3 || len(r.Skipped) != 1 || r.Skipped[0].Row != 4 {
		t.Errorf("want 3 steps and row 4 skipped, got %s, %v", text, err)
	}
	if rows, err := os.ReadFile(log); err != nil || strings.Count(string(rows), "\n") != 3 {
		t.Errorf("log: %q, %v", rows, err)
	}
	m, err := checkpoint.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	if _, err := os.Stat(filepath.Join(out, "tokenizer.json")); err != nil {
		t.Error(err)
	}
	// The adapter is one to begin with.
	if _, err := mop(t, "", "recover", "--model", demoDir, "--data", data, "--out", filepath.Join(dir, "again"), "--steps", "1", "--batch", "1", "--adapter-init", adapter); err != nil {
		t.Error(err)
	}
	// Nothing is written over.
	if _, err := mop(t, "", args...); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("want a refusal, got %v", err)
	}
}
