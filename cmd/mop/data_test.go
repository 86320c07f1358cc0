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

// Wrong flags have exit status 2, before a model is loaded.
func TestWrongFlags(t *testing.T) {
	for _, args := range [][]string{
		{"eval", "ppl", "--model", demoDir, "--text", "main.go", "--context", "1"},
		{"eval", "kl", "--model", demoDir, "--reference", demoDir, "--text", "main.go", "--context", "-4"},
		{"eval", "ppl", "--model", demoDir, "--text", "main.go", "--context", "8", "--stride", "9"},
		{"inspect", "preset:llama-9"},
		{"bench", "preset:llama-9"},
		{"run", "--model", demoDir, "--prompt", "a", "--stop", ""},
		{"recover", "--model", demoDir, "--data", "x", "--out", "y", "--epochs", "0"},
		{"recover", "--model", demoDir, "--data", "x", "--out", "y", "--batch", "0"},
		{"recover", "--model", demoDir, "--data", "x", "--out", "y", "--steps", "-1"},
		{"recover", "--model", demoDir, "--data", "x", "--out", "y", "--targets", "q,v,q_proj"},
	} {
		if got := run(t.Context(), args); got != 2 {
			t.Errorf("%v: want exit status 2, got %d", args, got)
		}
	}
	for flag, want := range map[string]string{"--epochs=0": "--epochs: want 1 to", "--batch=0": "--batch: want 1 to", "--steps=-1": "--steps: want 0 to", "--targets=q,q": "--targets: q_proj is named twice",
		"--lr=0": "--lr: want", "--max-length=1": "--max-length: want", "--beta2=1": "--beta2: want", "--decay=-1": "--decay: want"} {
		if _, err := mop(t, "", "recover", "--model", demoDir, "--data", "x", "--out", "y", flag); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want an error with %q, got %v", flag, want, err)
		}
	}
}

// A value of a wrong type in a JSON file is named without Go's types.
func TestPlainJSONErrors(t *testing.T) {
	for _, c := range []struct{ file, old, to, want string }{
		{"tokenizer.json", `"type": "BPE"`, `"type": 7`, "model.type: want a string, got a number"},
		{"tokenizer_config.json", "{", `{"legacy": 3, `, "legacy: want true or false, got a number"},
	} {
		dir := copyDemo(t)
		path := filepath.Join(dir, c.file)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(text), c.old, c.to, 1)
		if changed == string(text) {
			changed = strings.Replace(string(text), strings.ReplaceAll(c.old, " ", ""), c.to, 1)
		}
		if err := os.WriteFile(path, []byte(changed), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err = mop(t, "a", "tokenize", "--model", dir)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "Go ") {
			t.Errorf("%s: want an error with %q, got %v", c.file, c.want, err)
		}
	}
	path := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(path, []byte(`{"steps": 7}`), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := mop(t, "", "prune", "--model", demoDir, "--out", filepath.Join(t.TempDir(), "x"), "--plan", path)
	if err == nil || !strings.Contains(err.Error(), "steps: want a list, got a number") {
		t.Errorf("plan.json: got %v", err)
	}
}
