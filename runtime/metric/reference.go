package metric

import (
	"context"
	"fmt"

	"mop/runtime/dataset"
	"mop/runtime/device"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// Reference is the model that another one is compared with. A live reference
// runs the model on every window; a cached one reads states that it stored. Both
// give the same bits.
type Reference interface {
	// Window returns the reference's state after window w, whose tokens are given.
	// It is valid until the next call.
	Window(w int, tokens []int) (model.Reference, error)
}

// LiveReference runs its model on each window.
type LiveReference struct {
	model *model.Model
	cache *kvcache.Cache
}

// NewLiveReference returns a reference that runs the model on the windows. Its KV cache has the
// device's most precise type, whatever type that of the model under test has.
func NewLiveReference(m *model.Model, windows []dataset.Window) (*LiveReference, error) {
	cache, err := kvcache.NewWhole(device.WithPreciseCaches(m.Device()), m.Config, max(1, dataset.Longest(windows)))
	if err != nil {
		return nil, err
	}
	return &LiveReference{m, cache}, nil
}

// Close frees the cache, not the model.
func (l *LiveReference) Close() { l.cache.Close() }

// Window: see Reference.
func (l *LiveReference) Window(_ int, tokens []int) (model.Reference, error) {
	l.cache.Reset()
	return l.model, l.model.Forward(model.Pass{Cache: l.cache, Chunks: []model.Chunk{{Slot: 0, Tokens: tokens}}})
}

// forEachPair runs the model and the reference over the windows, and calls each
// with the reference and the rows of a window that can be compared.
func forEachPair(ctx context.Context, reference Reference, m *model.Model, windows []dataset.Window, prefixes Prefixes, each func(original model.Reference, rows []int) error) error {
	return ForEachWindow(ctx, m, windows, prefixes, func(w int) error {
		tokens := windows[w].Tokens
		original, err := reference.Window(w, tokens)
		if err != nil {
			return fmt.Errorf("text: window %d: %w", w, err)
		}
		return each(original, rowsBetween(0, len(tokens)))
	})
}
