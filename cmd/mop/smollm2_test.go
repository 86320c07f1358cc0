package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mop/internal/testutil"
	"mop/runtime/tokenizer"
)

// smollm2Golden is testdata/smollm2.json, which testdata/smollm2.py writes.
type smollm2Golden struct {
	Logits []struct {
		IDs    []int       `json:"ids"`
		Argmax []int       `json:"argmax"`
		Max    []float64   `json:"largest"`
		Sample [][]float64 `json:"every_1024th"` // [T][V/1024]
	} `json:"logits"`
	Perplexities []struct {
		Context, Stride, Tokens, Scored int
		Perplexity                      float64
	} `json:"perplexities"`
	Texts []struct {
		Text string `json:"text"`
		IDs  []int  `json:"ids"`
	} `json:"texts"`
}

func readSmolLM2(t *testing.T) (dir string, golden smollm2Golden) {
	t.Helper()
	dir = testutil.BuiltPath(t, "smollm2", "smollm2")
	data, err := os.ReadFile(filepath.Join("testdata", "smollm2.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	return dir, golden
}

// The imported model has transformers' logits. 30 layers in float32 sum in another
// order there; logits are up to 35.
func TestSmolLM2Logits(t *testing.T) {
	const tolerance = 1e-3
	dir, golden := readSmolLM2(t)
	for _, g := range golden.Logits {
		ids, _ := json.Marshal(g.IDs)
		text, err := mop(t, "", "logits", "--model", dir, "--ids", strings.Trim(string(ids), "[]"), "--json", "--device", "cpu")
		if err != nil {
			t.Fatal(err)
		}
		var got [][]float64 // [T][V]
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(g.IDs) {
			t.Fatalf("want %d rows, got %d", len(g.IDs), len(got))
		}
		worst := 0.0
		for p, row := range got {
			largest := slices.Max(row)
			if i := slices.Index(row, largest); i != g.Argmax[p] {
				t.Errorf("position %d: want argmax token %d, got %d", p, g.Argmax[p], i)
			}
			worst = max(worst, math.Abs(largest-g.Max[p]))
			for k, want := range g.Sample[p] {
				worst = max(worst, math.Abs(row[1024*k]-want))
			}
		}
		if !(worst <= tolerance) {
			t.Errorf("worst difference of a logit: want at most %v, got %v", tolerance, worst)
		}
	}
}

// The perplexities of WikiText-2 are transformers', with and without overlap.
func TestSmolLM2Perplexity(t *testing.T) {
	dir, golden := readSmolLM2(t)
	text := testutil.DataPath(t, "wikitext-2-raw-v1/wiki.test.raw")
	if len(golden.Perplexities) < 3 {
		t.Fatalf("want at least 3 perplexities, got %d", len(golden.Perplexities))
	}
	for _, g := range golden.Perplexities {
		stride := g.Stride
		if stride == g.Context {
			stride = 0
		}
		out, err := mop(t, "", "eval", "ppl", "--model", dir, "--text", text, "--context", strconv.Itoa(g.Context), "--stride", strconv.Itoa(stride),
			"--max-tokens-per-document", strconv.Itoa(g.Tokens), "--json", "--device", "cpu")
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			PPL    float64
			Tokens int
		}
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatal(err)
		}
		if got.Tokens != g.Scored || !(math.Abs(got.PPL/g.Perplexity-1) <= 5e-5) { // four digits
			t.Errorf("context %d, stride %d: want %v of %d tokens, got %v of %d", g.Context, g.Stride, g.Perplexity, g.Scored, got.PPL, got.Tokens)
		}
	}
}

// Its tokenizer gives tokenizers' ids: digits one by one, and the rest by ByteLevel's
// expression. It has no BOS.
func TestSmolLM2Tokens(t *testing.T) {
	dir, golden := readSmolLM2(t)
	tok, err := tokenizer.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if tok.BOS() != -1 || !slices.Contains(tok.EOS(), 2) {
		t.Errorf("want no BOS and EOS 2, got %d and %v", tok.BOS(), tok.EOS())
	}
	for _, g := range golden.Texts {
		if got, err := tok.Encode([]byte(g.Text), tokenizer.EncodeOptions{BOS: true}); err != nil || !slices.Equal(got, g.IDs) {
			t.Errorf("%q: want %v, got %v, %v", g.Text, g.IDs, got, err)
		}
		if got, err := tok.Decode(g.IDs); err != nil || string(got) != g.Text {
			t.Errorf("%v: want %q, got %q", g.IDs, g.Text, got)
		}
	}
}
