package model_test

import (
	"slices"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// residuals stores what a ResidualObserver sees.
type residuals struct {
	m *model.Model
	x map[int][]float32
	t *testing.T
}

func (*residuals) Attention(int, device.Buffer, int, device.Weight, device.AttentionShape) {}
func (*residuals) MLP(int, device.Buffer, int)                                             {}

func (r *residuals) Residual(layer int, x device.Buffer, n int) {
	if _, twice := r.x[layer]; twice {
		r.t.Errorf("layer %d is seen twice", layer)
	}
	r.x[layer] = make([]float32, n*r.m.Config.HiddenSize)
	r.m.Device().Read(r.x[layer], x, 0, n)
	if err := r.m.Device().Sync(); err != nil {
		r.t.Error(err)
	}
}

// An observer sees the residual stream that a pass stores in front of each layer, and once
// behind the last one, with and without a cached prefix.
func TestResidualObserver(t *testing.T) {
	c := oddShapes()
	m := load(t, checkpoint.Random(c, 3, checkpoint.BF16), 2)
	chunk := []model.Chunk{{Slot: 0, Tokens: []int{5, 99, 3, 7, 7, 0}}}
	cache, err := kvcache.NewWhole(m.Device(), c, 6)
	if err != nil {
		t.Fatal(err)
	}
	L := len(c.Layers)
	for at := range L + 1 {
		var stored []float32
		r := &residuals{m, map[int][]float32{}, t}
		cache.Reset()
		err := m.Forward(model.Pass{Cache: cache, Chunks: chunk, Observer: r, Prefix: model.CachedPrefix{StoreAt: at, Store: func(x []float32) error { stored = slices.Clone(x); return nil }}})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.x) != L+1 || !slices.Equal(r.x[at], stored) {
			t.Errorf("layer %d: want the stored residual stream among %d, got %d", at, L+1, len(r.x))
		}
	}
}
