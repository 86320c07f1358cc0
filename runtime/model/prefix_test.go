package model_test

import (
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// A pass that loads the residual stream which another pass stored in front of a layer
// has the bits of a whole pass, and so has the pass that stores it.
func TestCachedPrefix(t *testing.T) {
	c := oddShapes()
	m := load(t, checkpoint.Random(c, 3, checkpoint.BF16), 2)
	tokens := []int{5, 99, 3, 7, 7, 0, 64, 12}
	chunk := []model.Chunk{{Slot: 0, Tokens: tokens}}
	cache, err := kvcache.NewWhole(m.Device(), c, len(tokens))
	if err != nil {
		t.Fatal(err)
	}
	residual := func(prefix model.CachedPrefix) (out [][]float32) {
		t.Helper()
		cache.Reset()
		if err := m.Forward(model.Pass{Cache: cache, Chunks: chunk, Prefix: prefix}); err != nil {
			t.Fatal(err)
		}
		if err := m.Residual(len(tokens), func(_ int, x []float32) error {
			out = append(out, append([]float32(nil), x...))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	whole := residual(model.CachedPrefix{})
	for at := range len(c.Layers) + 1 {
		var stored []float32
		store := func(x []float32) error { stored = append(stored[:0], x...); return nil }
		same(t, "a pass that stores", whole, residual(model.CachedPrefix{StoreAt: at, Store: store}))
		same(t, "a pass that loads", whole, residual(model.CachedPrefix{LoadAt: at, Load: func(x []float32) error { copy(x, stored); return nil }}))
	}
	nothing := func([]float32) error { return nil }
	for _, bad := range []model.CachedPrefix{
		{LoadAt: -1, Load: nothing},
		{LoadAt: len(c.Layers) + 1, Load: nothing},
		{LoadAt: 1}, // without Load
		{StoreAt: len(c.Layers) + 1, Store: nothing},
		{LoadAt: 2, Load: nothing, StoreAt: 1, Store: nothing},
	} {
		if err := m.Forward(model.Pass{Cache: cache, Chunks: chunk, Prefix: bad}); err == nil {
			t.Errorf("%+v: want an error", bad)
		}
	}
}
