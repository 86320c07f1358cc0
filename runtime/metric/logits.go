package metric

import (
	"context"
	"fmt"

	"github.com/montanaflynn/stats"

	"mop/runtime/dataset"
	"mop/runtime/device"
	"mop/runtime/model"
)

// CompareLogits calls each with the comparison of the logits at every position of
// every window: KL(reference || model), the cosine, and whether both have the
// same argmax token.
func CompareLogits(ctx context.Context, reference Reference, m *model.Model, windows []dataset.Window, prefixes Prefixes, each func(device.Divergence)) error {
	return forEachPair(ctx, reference, m, windows, prefixes, func(original model.Reference, rows []int) error {
		divergences, err := model.CompareLogits(original, m, rows)
		for _, d := range divergences {
			each(d)
		}
		return err
	})
}

// KLResult is the distribution of KL(reference || model) over all positions, in nats.
type KLResult struct {
	Mean       float64 `json:"mean"`
	Median     float64 `json:"median"`
	P99        float64 `json:"p99"`
	SameArgmax float64 `json:"same_top1"` // share of positions with the same argmax token
	Tokens     int     `json:"tokens"`    // positions compared
}

// KL measures the divergence of a model from the reference over the windows. tick
// is called after each position; it may be nil.
func KL(ctx context.Context, reference, m *model.Model, windows []dataset.Window, tick func()) (KLResult, error) {
	if want, got := reference.Config.VocabSize, m.Config.VocabSize; want != got {
		return KLResult{}, fmt.Errorf("want one vocabulary, the reference has %d tokens and the model %d", want, got)
	}
	live, err := NewLiveReference(reference, windows)
	if err != nil {
		return KLResult{}, err
	}
	defer live.Close()
	var all []float64
	same := 0
	if err := CompareLogits(ctx, live, m, windows, nil, func(d device.Divergence) {
		all = append(all, d.KL)
		if d.SameArgmax {
			same++
		}
		if tick != nil {
			tick()
		}
	}); err != nil {
		return KLResult{}, err
	}
	r := KLResult{Tokens: len(all), SameArgmax: float64(same) / float64(max(len(all), 1))}
	if r.Mean, err = stats.Mean(all); err != nil {
		return r, err
	}
	if r.Median, err = stats.Median(all); err != nil {
		return r, err
	}
	if r.P99, err = stats.Percentile(all, 99); err != nil {
		return r, err
	}
	if r.Mean-r.Mean != 0 {
		return r, fmt.Errorf("the divergence is not finite")
	}
	return r, nil
}
