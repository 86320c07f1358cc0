package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/internal/testutil"
	"mop/runtime/tokenizer"
)

// llamaCpp is testdata/llamacpp.json: what llama.cpp gave for files that mop exported. The
// recipe is bench/engines/llamacpp.py.
type llamaCpp struct {
	Models []struct {
		Name   string          `json:"name"`
		Config json.RawMessage `json:"config"` // null = the demo's model
		Sum    string          `json:"sha256"`
		Tokens []int           `json:"tokens"`
		Greedy []int           `json:"greedy"`     // after the first 5 tokens
		Logits [][]float64     `json:"every_97th"` // [T][V/97]
	} `json:"models"`
	Texts      []string `json:"texts"`
	Tokenizers []struct {
		Name   string          `json:"name"`
		Config json.RawMessage `json:"config"`
		Sum    string          `json:"sha256"`
		IDs    [][]int         `json:"ids"` // of each text
	} `json:"tokenizers"`
}

func readLlamaCpp(t *testing.T) (g llamaCpp) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "llamacpp.json"))
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// initialized writes an untrained model of a config.
func initialized(t *testing.T, name string, c json.RawMessage, tokenizer, seed string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), name)
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, c, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := mop(t, "", "init", "--config", path, "--tokenizer", tokenizer, "--out", dir, "--seed", seed); err != nil {
		t.Fatal(err)
	}
	return dir
}

// exportedSum exports a model and returns the sha256 of the file.
func exportedSum(t *testing.T, dir string, flags ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "m.gguf")
	if _, err := mop(t, "", append([]string{"export", "gguf", "--model", dir, "--out", file}, flags...)...); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// For models of many shapes mop exports the very file that llama.cpp ran, and has the same
// logits and greedy tokens.
func TestExportedModelsInLlamaCpp(t *testing.T) {
	const tolerance = 2e-5 // of the largest logit: two orders of summation in float32
	for _, g := range readLlamaCpp(t).Models {
		t.Run(g.Name, func(t *testing.T) {
			dir := demoDir
			if g.Config != nil {
				dir = initialized(t, "model", g.Config, demoDir, "7")
			}
			if sum := exportedSum(t, dir, "--type", "f32"); sum != g.Sum {
				t.Errorf("want the file of sha256 %s, got %s: if this is a change of the export, run bench/engines/llamacpp.py again", g.Sum, sum)
			}
			rows := logitsOf(t, dir, g.Tokens)
			largest, worst := 0.0, 0.0
			for p, row := range rows {
				for k, want := range g.Logits[p] {
					largest, worst = max(largest, math.Abs(want)), max(worst, math.Abs(row[97*k]-want))
				}
			}
			if !(worst <= tolerance*largest) {
				t.Errorf("worst difference of a logit: want at most %v of %v, got %v", tolerance, largest, worst)
			}
			rows = logitsOf(t, dir, append(slices.Clone(g.Tokens[:5]), g.Greedy...))
			for i, want := range g.Greedy {
				if got := slices.Index(rows[4+i], slices.Max(rows[4+i])); got != want {
					t.Errorf("greedy token %d: want %d, got %d", i, want, got)
				}
			}
		})
	}
}

func logitsOf(t *testing.T, dir string, tokens []int) (rows [][]float64) {
	t.Helper()
	ids, _ := json.Marshal(tokens)
	text, err := mop(t, "", "logits", "--model", dir, "--ids", strings.Trim(string(ids), "[]"), "--json", "--device", "cpu")
	if err == nil {
		err = json.Unmarshal([]byte(text), &rows)
	}
	if err != nil || len(rows) != len(tokens) {
		t.Fatalf("want %d rows, got %d, %v", len(tokens), len(rows), err)
	}
	return rows
}

// llama.cpp cuts texts into the same tokens with the exported tokenizers as mop, whose
// tokenizers are compared with the original libraries elsewhere.
func TestExportedTokenizersInLlamaCpp(t *testing.T) {
	g := readLlamaCpp(t)
	for _, c := range g.Tokenizers {
		t.Run(c.Name, func(t *testing.T) {
			dir := demoDir
			switch c.Name {
			case "llama-2":
				dir = testutil.DataPath(t, "tokenizer-llama2")
			case "llama-3":
				dir = testutil.DataPath(t, "tokenizer-llama3")
			case "smollm2":
				dir = testutil.BuiltPath(t, "smollm2", "smollm2")
			}
			dir = initialized(t, "tokenizer", c.Config, dir, "0")
			if sum := exportedSum(t, dir); sum != c.Sum {
				t.Errorf("want the file of sha256 %s, got %s: if this is a change of the export, run bench/engines/llamacpp.py again", c.Sum, sum)
			}
			tok, err := tokenizer.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			for i, text := range g.Texts {
				if got, err := tok.Encode([]byte(text), tokenizer.EncodeOptions{}); err != nil || !slices.Equal(got, c.IDs[i]) {
					t.Errorf("%q: want %v, got %v, %v", text, c.IDs[i], got, err)
				}
			}
		})
	}
}

// The command's options and messages.
func TestExportGGUFCommand(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "m.gguf")
	for _, c := range []struct {
		says string
		args []string
	}{
		{"want a format, gguf or", nil},
		{"--model is required", []string{"gguf", "--out", out}},
		{"--out is required", []string{"gguf", "--model", demoDir}},
		{`--type: want one of bf16, f16, f32, q8_0, got "q4_k"`, []string{"gguf", "--model", demoDir, "--out", out, "--type", "q4_k"}},
		{"--pad-to: want 1 to 65536, got 0", []string{"gguf", "--model", demoDir, "--out", out, "--pad-to", "0"}},
	} {
		if _, err := mop(t, "", append([]string{"export"}, c.args...)...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: want %q, got %v", c.args, c.says, err)
		}
	}
	text, err := mop(t, "", "export", "gguf", "--model", demoDir, "--out", out, "--type", "q8_0", "--pad-to", "96")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"architecture llama, Q8_0", "padding: 704 zero neurons and 0 zero heads, 202.8 k parameters, 215.4 k bytes", "m.Modelfile"} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q, got %q", want, text)
		}
	}
	if _, err := mop(t, "", "export", "gguf", "--model", demoDir, "--out", out); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("want a refusal, got %v", err)
	}
	if text, err = mop(t, "", "export", "gguf", "--model", "preset:smollm2-135m", "--out", filepath.Join(dir, "p.gguf"), "--type", "q8_0"); err != nil || !strings.Contains(text, "Q8_0") {
		t.Errorf("a preset: %q, %v", text, err)
	}
}
