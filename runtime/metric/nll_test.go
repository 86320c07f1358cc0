package metric_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"mop/internal/testutil"
	"mop/runtime/checkpoint/llama2c"
	"mop/runtime/dataset"
	"mop/runtime/metric"
	"mop/runtime/tokenizer"
)

// Trained models on real text have the NLL that two independent programs found
// for the first 60 stories, each cut to the model's context.
func TestKnownPerplexities(t *testing.T) {
	for _, c := range []struct {
		weights, tokenizer string
		nll                float64
		tokens             int
	}{
		{"stories260K/stories260K.bin", "stories260K/tok512.bin", 1.2958, 20424},
		{"babyllama-tok105/model5000.bin", "babyllama-tok105/tok105.bin", 0.6174, 15300},
	} {
		src, err := llama2c.Open(testutil.DataPath(t, c.weights))
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		tok, err := tokenizer.OpenFile(testutil.DataPath(t, c.tokenizer))
		if err != nil {
			t.Fatal(err)
		}
		docs, err := dataset.Documents(testutil.DataPath(t, "tinystories/tinystories_sample_2M.txt"), "<|endoftext|>")
		if err != nil {
			t.Fatal(err)
		}
		m := load(t, host(t), src)
		n := m.Config.MaxPositions
		w, err := dataset.Windows(tok, docs[:60], n, 0, n-1)
		if err != nil {
			t.Fatal(err)
		}
		p, err := metric.Perplexity(t.Context(), m, w, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s, %s: nll %.4f over %d targets", c.weights, c.tokenizer, p.NLL, p.Tokens)
		if math.Abs(p.NLL-c.nll) > 0.002 || p.Tokens != c.tokens || math.Abs(p.PPL-math.Exp(p.NLL)) > 1e-9 {
			t.Errorf("%s, %s: want nll %v over %d targets, got %+v", c.weights, c.tokenizer, c.nll, c.tokens, p)
		}
	}
}

// An empty text and a cancelled run give errors.
func TestPerplexityRefuses(t *testing.T) {
	m := load(t, host(t), small(1))
	windows := []dataset.Window{{Tokens: []int{1, 2}, FirstScored: 1}}
	if _, err := metric.Perplexity(t.Context(), m, nil, nil); err == nil {
		t.Error("nothing to score: want an error")
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := metric.Perplexity(cancelled, m, windows, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run: want context.Canceled, got %v", err)
	}
}
