package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/internal/testutil"
	"mop/runtime/checkpoint"
)

const casesDir = "../../bench/engines/cases"

// initCase writes the random model of a case of bench/engines.
func initCase(t *testing.T, name string, more ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), filepath.Base(name))
	if _, err := mop(t, "", append([]string{"init", "--config", filepath.Join(casesDir, name+".json"), "--tokenizer", demoDir, "--seed", "1", "--out", out}, more...)...); err != nil {
		t.Fatal(err)
	}
	return out
}

func readText(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every command that writes a model takes --hf-type. Heads that do not divide the hidden
// size give a Mistral by default, which mop runs as the same network.
func TestHFType(t *testing.T) {
	mistral, llama := initCase(t, "mha-odd-heads"), initCase(t, "mha-odd-heads", "--hf-type", "llama")
	for dir, want := range map[string]string{mistral: `"model_type": "mistral"`, llama: `"model_type": "llama"`} {
		if text := readText(t, dir, "config.json"); !strings.Contains(text, want) || !strings.Contains(text, `"rope_parameters"`) || !strings.Contains(text, `"rope_theta": 10000.0,`) {
			t.Errorf("want %s and both spellings of the rotary base in %s", want, text)
		}
	}
	a, err := mop(t, "", "logits", "--model", mistral, "--ids", "1,300,9", "--json")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := mop(t, "", "logits", "--model", llama, "--ids", "1,300,9", "--json"); err != nil || a != b {
		t.Errorf("the Mistral and the LLaMA differ: %v", err)
	}
	for asked, want := range map[string]string{"": `"mistral"`, "llama": `"llama"`} {
		out := filepath.Join(t.TempDir(), "trained")
		if _, err := mop(t, "", "recover", "--model", llama, "--data", "../../bench/demo/text/calibration.jsonl", "--steps", "1", "--batch", "1", "--max-length", "8",
			"--rank", "1", "--out", out, "--hf-type", asked); err != nil {
			t.Fatal(err)
		}
		if text := readText(t, out, "config.json"); !strings.Contains(text, want) {
			t.Errorf("--hf-type %q: want %s, got %s", asked, want, text)
		}
		if card := readText(t, out, "README.md"); !strings.Contains(card, "| steps | examples |") || !strings.Contains(card, "mha-odd-heads, fine-tuned") {
			t.Errorf("got %s", card)
		}
	}
	for _, args := range [][]string{
		{"init", "--config", "x", "--tokenizer", "x"}, {"recover", "--model", demoDir, "--data", "x"}, {"prune", "--model", demoDir, "--sequence", "L", "--targets", "0.1", "--calibration", "x"},
		{"import", "llama2c", "--weights", "x", "--tokenizer", "x"}, {"import", "gguf", "x"},
	} {
		if _, err := mop(t, "", append(args, "--out", filepath.Join(t.TempDir(), "x"), "--hf-type", "qwen")...); !errors.Is(err, errUsage) || !strings.Contains(err.Error(), `"qwen"`) {
			t.Errorf("%v: want wrong use, got %v", args, err)
		}
	}
}

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

// Layers with one number of query heads are exported as Nemotron-NAS with the same
// tensors; others are refused with the name of the layer.
func TestExportNemotronNAS(t *testing.T) {
	model, out := initCase(t, "../testdata/nemotron-nas"), filepath.Join(t.TempDir(), "nas")
	if _, err := mop(t, "", "export", "nemotron-nas", "--model", model, "--out", out); err != nil {
		t.Fatal(err)
	}
	a, err := checkpoint.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := checkpoint.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, info := range checkpoint.ExpectedTensors(a.Config()) {
		x, errA := a.Tensor(info.Name)
		y, errB := b.Tensor(info.Name)
		if errA != nil || errB != nil || !bytes.Equal(x.Data, y.Data) {
			t.Errorf("%s differs: %v, %v", info.Name, errA, errB)
		}
	}
	for _, name := range []string{"configuration_nemotron_nas.py", "tokenizer.json", "README.md"} {
		readText(t, out, name)
	}
	if _, err := os.Stat(filepath.Join(out, "modeling_mop_llama.py")); err == nil {
		t.Error("the remote code of another form is there")
	}
	refused := filepath.Join(t.TempDir(), "no")
	for name, want := range map[string]string{"different": "layer 0: has an MLP", "groups": "layer 0: has an MLP, but neither it nor a layer before it has attention"} {
		if _, err := mop(t, "", "export", "nemotron-nas", "--model", initCase(t, name), "--out", refused); err == nil || errors.Is(err, errUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", name, want, err)
		}
	}
	if _, err := os.Stat(refused); err == nil {
		t.Error("a refused export left something")
	}
}
