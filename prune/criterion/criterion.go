// Package criterion compares a model with the original over windows of text:
// cosine similarity of the logits, KL divergence, perplexity. What flows in: two
// models and ids. What flows out: numbers, positions weighing the same.
package criterion

import (
	"context"
	"math"

	"mop/prune/calibrate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// NLL is the next-token negative log-likelihood of every target, in nats.
func NLL(ctx context.Context, m *model.Model, windows []calibrate.Window, each func(window int, nll float64)) error {
	cache, err := kvcache.New(m.Device(), m.Config, 1, longest(windows))
	if err != nil {
		return err
	}
	for w, win := range windows {
		if err := ctx.Err(); err != nil {
			return err
		}
		first := max(win.First, 1)
		if first >= len(win.IDs) {
			continue
		}
		cache.Reset()
		if err := m.Forward(cache, []model.Chunk{{Seq: 0, IDs: win.IDs}}, nil); err != nil {
			return err
		}
		nll, err := m.NLL(upTo(first-1, len(win.IDs)-1), win.IDs[first:])
		if err != nil {
			return err
		}
		for _, x := range nll {
			each(w, x)
		}
	}
	return nil
}

// Compare gives, for every position of every window, the KL divergence
// KL(reference || model) in nats, the cosine of the logits, and whether both
// would choose the same id.
func Compare(ctx context.Context, reference, m *model.Model, windows []calibrate.Window, each func(kl, cosine float64, same bool)) error {
	caches := [2]*kvcache.Cache{}
	models := [2]*model.Model{reference, m}
	for i, m := range models {
		var err error
		if caches[i], err = kvcache.New(m.Device(), m.Config, 1, longest(windows)); err != nil {
			return err
		}
	}
	for _, w := range windows {
		if err := ctx.Err(); err != nil {
			return err
		}
		for i, m := range models {
			caches[i].Reset()
			if err := m.Forward(caches[i], []model.Chunk{{Seq: 0, IDs: w.IDs}}, nil); err != nil {
				return err
			}
		}
		d, err := model.Compare(reference, m, upTo(0, len(w.IDs)))
		if err != nil {
			return err
		}
		for _, x := range d {
			each(x.KL, x.Cosine, x.Same)
		}
	}
	return nil
}

func longest(windows []calibrate.Window) int {
	n := 1
	for _, w := range windows {
		n = max(n, len(w.IDs))
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

// Score is a candidate's score by the named criterion: the mean KL (lowest wins),
// the mean cosine (highest wins), or the perplexity (lowest wins).
func Score(ctx context.Context, name string, reference, m *model.Model, windows []calibrate.Window) (float64, error) {
	var sum, n float64
	if name == "ppl" {
		err := NLL(ctx, m, windows, func(_ int, nll float64) { sum += nll; n++ })
		return math.Exp(sum / n), err
	}
	err := Compare(ctx, reference, m, windows, func(kl, cosine float64, _ bool) {
		n++
		if name == "cosine" {
			sum += cosine
		} else {
			sum += kl
		}
	})
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
	if name == "cosine" {
		return width > depth
	}
	return width < depth
}

func finite(x float64) bool { return x-x == 0 }
