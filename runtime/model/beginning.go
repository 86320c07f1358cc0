package model

import (
	"fmt"
	"slices"

	"mop/runtime/device"
	"mop/runtime/kvcache"
)

// CachedPrefix shares first layers between models that have them alike. A pass takes
// the residual streams in front of layer At, and a later pass over the same ids, of
// another model, is given them in front of its layer From: its bits are those of a
// whole pass. The zero CachedPrefix is a whole pass.
type CachedPrefix struct {
	From int                     // 0 = the embedding
	Give func(x []float32) error // fills [n, D]
	At   int                     // at least From
	Take func(x []float32) error // sees [n, D]; nil = not wanted
}

// ForwardFrom is Forward that begins, and leaves off, as b says. Keys and values of
// the layers that are left out are not made: the cache is one for whole passes.
func (m *Model) ForwardFrom(cache *kvcache.Cache, chunks []Chunk, obs Observer, b CachedPrefix) error {
	if b.From < 0 || b.From > len(m.layers) || b.Take != nil && (b.At < b.From || b.At > len(m.layers)) {
		return fmt.Errorf("beginning: want layers 0 to %d, got from %d, at %d", len(m.layers), b.From, b.At)
	}
	if b.From > 0 && !cache.Whole {
		return fmt.Errorf("beginning: want a cache for whole passes")
	}
	return m.pass(device.Prefill, cache, chunks, obs, b)
}

// streams is room on the host.   [n, D]
func (m *Model) streams(n int) []float32 {
	w := &m.work
	w.host = slices.Grow(w.host[:0], n*m.Config.HiddenSize)[:n*m.Config.HiddenSize]
	return w.host
}

func (m *Model) give(b CachedPrefix, n int) error {
	x := m.streams(n)
	if err := b.Give(x); err != nil {
		return err
	}
	m.dev.Write(m.work.x, 0, x)
	return m.dev.Sync()
}

func (m *Model) take(b CachedPrefix, n int) error {
	x := m.streams(n)
	m.dev.Read(x, m.work.x, 0, n)
	if err := m.dev.Sync(); err != nil {
		return err
	}
	return b.Take(x)
}
