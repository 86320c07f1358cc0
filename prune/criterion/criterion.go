// Package criterion compares a model with the original over windows of text:
// cosine similarity of the logits, KL divergence, perplexity. What flows in: two
// models and ids. What flows out: numbers, positions weighing the same.
package criterion

import (
	"context"
	"fmt"
	"math"
	"slices"

	"mop/runtime/dataset"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// NLL is the next-token negative log-likelihood of every target, in nats.
func NLL(ctx context.Context, m *model.Model, windows []dataset.Window, each func(window int, nll float64)) error {
	return nll(ctx, m, windows, nil, each)
}

func nll(ctx context.Context, m *model.Model, windows []dataset.Window, begin Prefixes, each func(window int, nll float64)) error {
	return forEachWindow(ctx, m, windows, begin, func(w int) error {
		ids := windows[w].Tokens
		first := min(max(windows[w].FirstScored, 1), len(ids))
		nll, err := m.NLL(upTo(first-1, len(ids)-1), ids[first:])
		for _, x := range nll {
			each(w, x)
		}
		return err
	})
}

// Prefixes says where the pass over a window begins; nil = all are whole.
type Prefixes func(window int) model.CachedPrefix

// forEachWindow runs the model over the windows, each a sequence of its own.
func forEachWindow(ctx context.Context, m *model.Model, windows []dataset.Window, begin Prefixes, each func(window int) error) error {
	cache, err := kvcache.NewWhole(m.Device(), m.Config, longest(windows))
	if err != nil {
		return err
	}
	for w, win := range windows {
		if err := ctx.Err(); err != nil {
			return err
		}
		cache.Reset()
		var b model.CachedPrefix
		if begin != nil {
			b = begin(w)
		}
		if err := m.ForwardFrom(cache, []model.Chunk{{Seq: 0, Tokens: win.Tokens}}, nil, b); err != nil {
			return fmt.Errorf("text: window %d: %w", w, err)
		}
		if err := each(w); err != nil {
			return err
		}
	}
	return nil
}

// Compare gives, for every position of every window, the KL divergence
// KL(reference || model) in nats, the cosine of the logits, and whether both
// would choose the same id.
func Compare(ctx context.Context, reference Reference, m *model.Model, windows []dataset.Window, each func(kl, cosine float64, same bool)) error {
	return compare(ctx, reference, m, windows, nil, each)
}

func compare(ctx context.Context, reference Reference, m *model.Model, windows []dataset.Window, begin Prefixes, each func(kl, cosine float64, same bool)) error {
	return alongReference(ctx, reference, m, windows, begin, func(original model.Reference, rows []int) error {
		d, err := model.Compare(original, m, rows)
		for _, x := range d {
			each(x.KL, x.Cosine, x.SameArgmax)
		}
		return err
	})
}

// hiddenRows is how many positions' last hidden states are compared at a time.
const hiddenRows = 16

// compareHidden gives the cosine of the last hidden states, after the final
// norm, for every position of every window.
func compareHidden(ctx context.Context, reference Reference, m *model.Model, windows []dataset.Window, begin Prefixes, each func(cosine float64)) error {
	D := m.Config.HiddenSize
	h := make([]float32, hiddenRows*D)
	return alongReference(ctx, reference, m, windows, begin, func(original model.Reference, rows []int) error {
		for part := range slices.Chunk(rows, hiddenRows) {
			if err := original.Hidden(part, func(i int, p []float32) error { copy(h[i*D:(i+1)*D], p); return nil }); err != nil {
				return err
			}
			if err := m.Hidden(part, func(i int, q []float32) error {
				var pp, qq, pq float64
				for j, p := range h[i*D : (i+1)*D] {
					a, b := float64(p), float64(q[j])
					pp, qq, pq = pp+a*a, qq+b*b, pq+a*b
				}
				each(pq / math.Sqrt(pp*qq))
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// alongReference runs the model over the windows beside the reference, and hands out the
// reference and the positions of each.
func alongReference(ctx context.Context, reference Reference, m *model.Model, windows []dataset.Window, begin Prefixes, each func(original model.Reference, rows []int) error) error {
	return forEachWindow(ctx, m, windows, begin, func(w int) error {
		ids := windows[w].Tokens
		original, err := reference.Window(w, ids)
		if err != nil {
			return fmt.Errorf("text: window %d: %w", w, err)
		}
		return each(original, upTo(0, len(ids)))
	})
}

func longest(windows []dataset.Window) int {
	n := 1
	for _, w := range windows {
		n = max(n, len(w.Tokens))
	}
	return n
}

func upTo(lo, hi int) []int {
	out := make([]int, 0, hi-lo)
	for i := lo; i < hi; i++ {
		out = append(out, i)
	}
	return out
}

// Scored lists the criteria that candidates are run for.
func Scored() []string { return []string{"kl", "cosine", "cosine-hidden", "ppl"} }

// Compares reports whether a scored criterion looks at the original.
func Compares(name string) bool { return name != "ppl" }

// Score is a candidate's score by the named criterion: the mean KL (lowest wins),
// the mean cosine of the logits or of the last hidden states (highest wins), or
// the perplexity (lowest wins), which needs no reference. begin may be nil.
func Score(ctx context.Context, name string, reference Reference, m *model.Model, windows []dataset.Window, begin Prefixes) (float64, error) {
	var sum, n float64
	add := func(x float64) { sum, n = sum+x, n+1 }
	var err error
	switch name {
	case "ppl":
		err = nll(ctx, m, windows, begin, func(_ int, nll float64) { add(nll) })
		return math.Exp(sum / n), err
	case "cosine-hidden":
		err = compareHidden(ctx, reference, m, windows, begin, add)
	case "cosine":
		err = compare(ctx, reference, m, windows, begin, func(_, cosine float64, _ bool) { add(cosine) })
	case "kl":
		err = compare(ctx, reference, m, windows, begin, func(kl, _ float64, _ bool) { add(kl) })
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
