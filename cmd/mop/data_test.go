package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A divergence between models of different tokenizers is refused.
func TestKLOfTwoTokenizers(t *testing.T) {
	dir := t.TempDir()
	other, text := copyDemo(t), filepath.Join(dir, "text.txt")
	if err := os.WriteFile(text, []byte("Once there was a ring."), 0o666); err != nil {
		t.Fatal(err)
	}
	kl := func() error {
		_, err := mop(t, "", "eval", "kl", "--model", demoDir, "--reference", other, "--text", text)
		return err
	}
	if err := kl(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(other, "tokenizer.json")
	json, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	swapped := strings.NewReplacer(`"a":`, `"b":`, `"b":`, `"a":`).Replace(string(json))
	if swapped == string(json) {
		t.Fatal("the tokenizer has no pieces a and b")
	}
	if err := os.WriteFile(path, []byte(swapped), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := kl(); err == nil || !strings.Contains(err.Error(), "different tokenizers: id") {
		t.Errorf("want a refusal, got %v", err)
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
