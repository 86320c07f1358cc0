package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
