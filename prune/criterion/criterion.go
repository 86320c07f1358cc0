// Package criterion compares a model with the original over windows of text:
// cosine similarity of the logits, KL divergence, perplexity. What flows in: two
// models and ids. What flows out: numbers, positions weighing the same.
package criterion

import (
	"context"
	"fmt"
	"math"

	"mop/runtime/dataset"
	"mop/runtime/device"
	"mop/runtime/metric"
	"mop/runtime/model"
)

// Scored lists the criteria that candidates are run for.
func Scored() []string { return []string{"kl", "cosine", "cosine-hidden", "ppl"} }

// Compares reports whether a scored criterion looks at the original.
func Compares(name string) bool { return name != "ppl" }

// Score is a candidate's score by the named criterion: the mean KL (lowest wins),
// the mean cosine of the logits or of the last hidden states (highest wins), or
// the perplexity (lowest wins), which needs no reference. prefixes may be nil.
func Score(ctx context.Context, name string, reference metric.Reference, m *model.Model, windows []dataset.Window, prefixes metric.Prefixes) (float64, error) {
	var sum, n float64
	add := func(x float64) { sum, n = sum+x, n+1 }
	var err error
	switch name {
	case "ppl":
		err = metric.NLL(ctx, m, windows, prefixes, func(_ int, nll float64) { add(nll) })
		return math.Exp(sum / n), err
	case "cosine-hidden":
		err = metric.CompareHidden(ctx, reference, m, windows, prefixes, add)
	case "cosine":
		err = metric.CompareLogits(ctx, reference, m, windows, prefixes, func(d device.Divergence) { add(d.Cosine) })
	case "kl":
		err = metric.CompareLogits(ctx, reference, m, windows, prefixes, func(d device.Divergence) { add(d.KL) })
	default:
		err = fmt.Errorf("criterion %q: not one that candidates are run for", name)
	}
	return sum / n, err
}

// Better reports whether width wins over depth: a tie takes depth, a score that
// is not finite loses.
func Better(name string, depth, width float64) bool {
	if !finite(width) {
		return false
	}
	if !finite(depth) {
		return true
	}
	if name == "cosine" || name == "cosine-hidden" {
		return width > depth
	}
	return width < depth
}

func finite(x float64) bool { return x-x == 0 }
