package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Wrong flags have exit status 2, before a model is loaded.
func TestWrongFlags(t *testing.T) {
	for _, args := range [][]string{
		{"eval", "ppl", "--model", demoDir, "--text", "main.go", "--context", "1"},
		{"eval", "ppl", "--model", demoDir, "--text", "main.go", "--bos", "maybe"},
		{"eval", "ppl", "--model", demoDir, "--text", "main.go", "--bos", "off", "--protocol", "harness"},
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

// Errors say what is wanted.
func TestErrorsSayWhatIsWanted(t *testing.T) {
	dir := t.TempDir()
	weights := filepath.Join(dir, "model.bin")
	// llama2.c, version 0: hidden size 2, one neuron, layer and head, 1025 tokens, 4 positions.
	var model bytes.Buffer
	binary.Write(&model, binary.LittleEndian, []int32{2, 1, 1, 1, 1, 1025, 4})
	model.Write(make([]byte, 4*(2*1025+2+4*4+2+3*2+2+2*4)))
	if err := os.WriteFile(weights, model.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, says string }{
		{"import foo", `import: want a format, llama2c or gguf, got "foo"`},
		{"eval foo", `eval: want ppl or kl or tasks or vqa, got "foo"`},
		{"eval", "eval: want ppl or kl or tasks or vqa, got nothing"},
		{"bench " + demoDir + " --dtype f16", "--dtype is of random weights"},
		{"prune --model " + demoDir + " --out main.go/b --criterion random", "main.go"},
		{"recover --model " + demoDir + " --data main.go --out main.go/b", "main.go"},
		{"import llama2c --weights " + weights + " --tokenizer " + demoDir + "/tokenizer.json --out " + dir + "/out", "want 1025 tokens"},
	} {
		if _, err := mop(t, "", strings.Fields(c.args)...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("mop %s: want %q, got %v", c.args, c.says, err)
		}
	}
	if text, err := mop(t, "", "run", "--help"); err != nil || !strings.Contains(text, "(default 0)") {
		t.Errorf("want the default seed, got %s, %v", text, err)
	}
}
