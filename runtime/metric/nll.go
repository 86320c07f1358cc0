package metric

import (
	"context"
	"fmt"
	"math"

	"mop/runtime/dataset"
	"mop/runtime/model"
)

// NLL calls each with the negative log-likelihood of every scored token, in the
// order of the windows and of the tokens within a window.
func NLL(ctx context.Context, m *model.Model, windows []dataset.Window, prefixes Prefixes, each func(window int, nll float64)) error {
	return ForEachWindow(ctx, m, windows, prefixes, func(w int) error {
		nll, err := WindowNLL(m, windows[w])
		for _, x := range nll {
			each(w, x)
		}
		return err
	})
}

// WindowNLL returns the negative log-likelihoods of a window's scored tokens, after a pass
// over the window.
func WindowNLL(m *model.Model, w dataset.Window) ([]float64, error) {
	first := min(max(w.FirstScored, 1), len(w.Tokens))
	return m.NLL(rowsBetween(first-1, len(w.Tokens)-1), w.Tokens[first:])
}

// PerplexityResult is a model's perplexity on a text.
type PerplexityResult struct {
	PPL    float64 `json:"ppl"`    // exp(NLL)
	NLL    float64 `json:"nll"`    // mean over the scored tokens, nats
	Tokens int     `json:"tokens"` // that were scored
}

// Perplexity measures the perplexity over the windows. tick is called after each
// scored token; it may be nil.
func Perplexity(ctx context.Context, m *model.Model, windows []dataset.Window, tick func()) (PerplexityResult, error) {
	var p PerplexityResult
	sum := 0.0
	if err := NLL(ctx, m, windows, nil, func(_ int, nll float64) {
		sum += nll
		p.Tokens++
		if tick != nil {
			tick()
		}
	}); err != nil {
		return p, err
	}
	if p.Tokens == 0 {
		return p, fmt.Errorf("no tokens to score")
	}
	p.NLL = sum / float64(p.Tokens)
	p.PPL = math.Exp(p.NLL)
	if p.PPL-p.PPL != 0 {
		return p, fmt.Errorf("the perplexity is not finite: nll %v", p.NLL)
	}
	return p, nil
}
