package main

import (
	"mop/internal/testutil"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An imported model has a tokenizer.model and a model card.
func TestImportWritesCardAndTokenizerModel(t *testing.T) {
	out := filepath.Join(t.TempDir(), "stories")
	if _, err := mop(t, "", "import", "llama2c", "--weights", testutil.DataPath(t, "stories260K/stories260K.bin"), "--tokenizer", testutil.DataPath(t, "stories260K/tok512.bin"), "--out", out); err != nil {
		t.Fatal(err)
	}
	if card := readText(t, out, "README.md"); !strings.Contains(card, "Imported by mop from `stories260K.bin` and `tok512.bin`") {
		t.Errorf("got %s", card)
	}
	if model := readText(t, out, "tokenizer.model"); !strings.Contains(model, "<unk>") {
		t.Errorf("got %d bytes", len(model))
	}
}

// A pruned model has a card with its path. A run that is continued keeps a card that
// somebody wrote there, and a replayed one writes the same card.
func TestPruneWritesCard(t *testing.T) {
	out := filepath.Join(t.TempDir(), "pruned")
	args := []string{"prune", "--model", demoDir, "--out", out, "--targets", "0.05", "--sequence", "LG", "--calibration", "../../bench/demo/text/calibration.jsonl", "--prompts", "1"}
	if _, err := mop(t, "", args...); err != nil {
		t.Fatal(err)
	}
	card := readText(t, out, "0.05", "README.md")
	for _, want := range []string{"# model, 4 % smaller", "criterion sequence", "| 1 | depth | 2682912 | 4.39 % |", "vllm serve"} {
		if !strings.Contains(card, want) {
			t.Errorf("want %q in\n%s", want, card)
		}
	}
	const own = "# My model\n"
	if err := os.WriteFile(filepath.Join(out, "0.05", "README.md"), []byte(own), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(out, "0.05", "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	// Another form is another config.json, so that the directory is written again.
	if _, err := mop(t, "", append(args, "--resume", "--hf-type", "mistral")...); err != nil {
		t.Fatal(err)
	}
	if got := readText(t, out, "0.05", "README.md"); got != own {
		t.Errorf("want the card that was there, got %s", got)
	}
	readText(t, out, "0.05", "model.safetensors")
}
