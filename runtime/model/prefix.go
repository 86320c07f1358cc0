package model

import (
	"fmt"
	"slices"

	"mop/runtime/kvcache"
)

// CachedPrefix shares the first layers of models that have them in common. A pass
// stores the residual stream in front of layer StoreAt. A later pass over the same
// tokens, of another model, loads it in front of its layer LoadAt and leaves out the
// layers before; its bits are those of a whole pass. The zero CachedPrefix is a whole
// pass.
type CachedPrefix struct {
	LoadAt  int
	Load    func(x []float32) error // fills x [n, D]; not used at layer 0
	StoreAt int                     // at least LoadAt
	Store   func(x []float32) error // receives x [n, D], valid during the call; nil = not wanted
}

// check refuses layers that are not there. A pass that leaves out layers does not
// compute their keys and values, so it needs a cache for whole passes.
func (c CachedPrefix) check(layers int, cache *kvcache.Cache) error {
	badLoad := c.LoadAt < 0 || c.LoadAt > layers || c.LoadAt > 0 && c.Load == nil
	if badLoad || c.Store != nil && (c.StoreAt < c.LoadAt || c.StoreAt > layers) {
		return fmt.Errorf("cached layer prefix: want layers 0 to %d, got load at %d, store at %d", layers, c.LoadAt, c.StoreAt)
	}
	if c.LoadAt > 0 && !cache.WholePasses {
		return fmt.Errorf("cached layer prefix: want a cache for whole passes")
	}
	return nil
}

// runWithPrefix queues a pass that loads or stores a cached prefix.
func (m *Model) runWithPrefix(r passRows, tokens []int, c CachedPrefix) error {
	first := c.LoadAt
	if first == 0 {
		m.embed(r, tokens)
	} else {
		x := m.work.hostRows(r.n, m.Config.HiddenSize)
		if err := c.Load(x); err != nil {
			return err
		}
		m.dev.Write(r.x, 0, x)
		if err := m.dev.Sync(); err != nil {
			return err
		}
	}
	if c.Store != nil {
		m.runLayers(r, first, c.StoreAt)
		x := m.work.hostRows(r.n, m.Config.HiddenSize)
		m.dev.Read(x, r.x, 0, r.n)
		if err := m.dev.Sync(); err != nil {
			return err
		}
		if err := c.Store(x); err != nil {
			return err
		}
		first = c.StoreAt
	}
	m.runLayers(r, first, len(m.weights.Layers))
	return nil
}

// hostRows returns host memory for n rows of the residual stream, [n, D].
func (w *workspace) hostRows(n, hiddenSize int) []float32 {
	w.prefix = slices.Grow(w.prefix[:0], n*hiddenSize)[:n*hiddenSize]
	return w.prefix
}
