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
