// Package metric measures a model on windows of tokens: the negative
// log-likelihood of every scored token and the perplexity, the comparison of
// logits and hidden states with those of a reference model, and the
// log-likelihoods of given continuations.
//
// Every window is a sequence of its own, so a result does not depend on the
// order of the windows. Logarithms are natural: likelihoods and divergences are
// in nats.
package metric

import (
	"context"
	"fmt"

	"mop/runtime/dataset"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// Prefixes returns the cached layer prefix that the pass over a window uses or
// stores. A nil Prefixes runs every pass from the embedding to the last layer.
type Prefixes func(window int) model.CachedPrefix

// ForEachWindow runs the model over each window and calls each afterwards, when
// the window's rows can be read from the model. The context is checked before
// every window.
func ForEachWindow(ctx context.Context, m *model.Model, windows []dataset.Window, prefixes Prefixes, each func(window int) error) error {
	cache, err := kvcache.NewWhole(m.Device(), m.Config, max(1, dataset.Longest(windows)))
	if err != nil {
		return err
	}
	defer cache.Close()
	for w, win := range windows {
		if err := ctx.Err(); err != nil {
			return err
		}
		cache.Reset()
		var prefix model.CachedPrefix
		if prefixes != nil {
			prefix = prefixes(w)
		}
		if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Slot: 0, Tokens: win.Tokens}}, Prefix: prefix}); err != nil {
			return fmt.Errorf("text: window %d: %w", w, err)
		}
		if err := each(w); err != nil {
			return err
		}
	}
	return nil
}

// rowsBetween returns the row numbers first .. end-1.
func rowsBetween(first, end int) []int {
	rows := make([]int, 0, end-first)
	for i := first; i < end; i++ {
		rows = append(rows, i)
	}
	return rows
}
