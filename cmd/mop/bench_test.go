package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/bench/latency"
)

// A measurement that is killed leaves a line for every run that had ended.
func TestBenchKilled(t *testing.T) {
	c := exec.Command(program(t), "bench", demoDir, "--device", "cpu", "--threads", "1", "--in", "3", "--out", "2", "--runs", "8000000", "--discard", "1", "--format", "jsonl")
	pipe, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(pipe)
	for round := range 3 {
		if !lines.Scan() {
			t.Fatalf("round %d: no line: %v", round, lines.Err())
		}
		var s sampleLine
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		if s.Kind != "sample" || s.Model != demoDir || s.Round != round || s.Discarded != (round < 1) || len(s.Tokens) != 2 || s.Total <= 0 {
			t.Errorf("round %d: got %s", round, lines.Text())
		}
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil {
		t.Error("want it killed in the middle")
	}
}

// The models' rows come last, and are computed from the samples before them.
func TestBenchLines(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	text, err := mop(t, "", "bench", demoDir, "--device", "cpu", "--threads", "1", "--in", "3", "--out", "2", "--runs", "4", "--discard", "1", "--format", "jsonl")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 5 {
		t.Fatalf("want 4 samples and a row, got %s", text)
	}
	var kept []float64
	for _, line := range lines[1:4] {
		var s sampleLine
		if err := json.Unmarshal([]byte(line), &s); err != nil || s.Kind != "sample" {
			t.Fatalf("want a sample, got %s, %v", line, err)
		}
		kept = append(kept, float64(s.Total)/1e6)
	}
	slices.Sort(kept)
	var row struct {
		Kind string
		latency.Row
	}
	if err := json.Unmarshal([]byte(lines[4]), &row); err != nil {
		t.Fatal(err)
	}
	if row.Kind != "" || row.Model != demoDir || row.E2E.Median != kept[1] {
		t.Errorf("want a row of the median %v ms, got %s", kept[1], lines[4])
	}
}

// A model whose path has a comma can be measured, and a report is written neither over
// foreign files nor into a model.
func TestBenchPaths(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "mö del,7b")
	if err := os.Rename(copyDemo(t), model); err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(dir, "report")
	args := func(report string) []string {
		return []string{"bench", model + "," + demoDir, "--runs", "2", "--discard", "1", "--out", "2", "--threads", "1", "--report", report}
	}
	for range 2 { // the second one replaces the first report
		if _, err := mop(t, "", args(report)...); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "report.md"), []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ report, want string }{
		{model, "lies in the model's directory"},
		{filepath.Join(model, "sub"), "lies in the model's directory"},
		{copyDemo(t), "holds a model"},
		{dir, "no report has written it"},
		{filepath.Join(dir, "report.md"), "want a directory"},
	} {
		if _, err := mop(t, "", args(c.report)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("--report %s: want an error with %q, got %v", c.report, c.want, err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "report.md")); err != nil || string(text) != "mine" {
		t.Errorf("a foreign file was changed: %q, %v", text, err)
	}
}
