// Package quality measures what a model has lost: perplexity on a text, and the
// KL divergence from a reference. What flows in: models and windows of ids. What
// flows out: means over positions.
package quality

import (
	"context"
	"fmt"
	"math"

	"github.com/montanaflynn/stats"

	"mop/prune/criterion"
	"mop/runtime/dataset"
	"mop/runtime/model"
)

// Perplexity of a model: exp of the mean negative log-likelihood, in nats, of
// the scored ids.
type Perplexity struct {
	PPL    float64 `json:"ppl"`
	NLL    float64 `json:"nll"`
	Tokens int     `json:"tokens"`
}

// PPL measures the perplexity over windows. tick is called at every scored id; it
// may be nil.
func PPL(ctx context.Context, m *model.Model, windows []dataset.Window, tick func()) (Perplexity, error) {
	var p Perplexity
	sum := 0.0
	if err := criterion.NLL(ctx, m, windows, func(_ int, nll float64) {
		sum += nll
		p.Tokens++
		if tick != nil {
			tick()
		}
	}); err != nil {
		return p, err
	}
	if p.Tokens == 0 {
		return p, fmt.Errorf("no ids to score")
	}
	p.NLL = sum / float64(p.Tokens)
	p.PPL = math.Exp(p.NLL)
	if p.PPL-p.PPL != 0 {
		return p, fmt.Errorf("the perplexity is not finite: nll %v", p.NLL)
	}
	return p, nil
}

// Divergence is KL(reference || model) in nats over all positions.
type Divergence struct {
	Mean   float64 `json:"mean"`
	Median float64 `json:"median"`
	P99    float64 `json:"p99"`
	Same   float64 `json:"same_top1"` // share of positions where both choose the same id
	Tokens int     `json:"tokens"`
}

// KL measures the divergence of m from the reference over windows. tick is called
// at every position; it may be nil.
func KL(ctx context.Context, reference, m *model.Model, windows []dataset.Window, tick func()) (Divergence, error) {
	if a, b := reference.Config.VocabSize, m.Config.VocabSize; a != b {
		return Divergence{}, fmt.Errorf("want one vocabulary, the reference has %d ids and the model %d", a, b)
	}
	ref, err := criterion.LiveReference(reference, windows)
	if err != nil {
		return Divergence{}, err
	}
	var all []float64
	same := 0
	if err := criterion.Compare(ctx, ref, m, windows, func(kl, _ float64, s bool) {
		all = append(all, kl)
		if s {
			same++
		}
		if tick != nil {
			tick()
		}
	}); err != nil {
		return Divergence{}, err
	}
	d := Divergence{Tokens: len(all), Same: float64(same) / float64(max(len(all), 1))}
	if d.Mean, err = stats.Mean(all); err != nil {
		return d, err
	}
	if d.Median, err = stats.Median(all); err != nil {
		return d, err
	}
	if d.P99, err = stats.Percentile(all, 99); err != nil {
		return d, err
	}
	if d.Mean-d.Mean != 0 {
		return d, fmt.Errorf("the divergence is not finite")
	}
	return d, nil
}
