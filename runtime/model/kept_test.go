package model_test

import (
	"encoding/binary"
	"math"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// Kept states compare as the model that left them does, to the bit, and a cache
// whose layers share their memory gives the bits of one whose layers do not; tied
// or not.
func TestKeptAndWholePasses(t *testing.T) {
	c := odd()
	for _, c.Tied = range []bool{false, true} {
		src := checkpoint.Random(c, 3, checkpoint.BF16)
		m := load(t, src, 2)
		other, err := model.Load(m.Device(), checkpoint.Random(c, 4, checkpoint.BF16))
		if err != nil {
			t.Fatal(err)
		}
		ids := []int{5, 99, 3, 7, 7, 0, 64, 12, 1, 2, 3, 50, 51, 52, 53, 54, 55, 56, 57}
		whole := logits(t, m, 1, []model.Chunk{{Seq: 0, Tokens: ids}})

		cache, err := kvcache.NewWhole(m.Device(), c, len(ids))
		if err != nil {
			t.Fatal(err)
		}
		var rows []int
		for range 2 {
			cache.Reset()
			if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Seq: 0, Tokens: ids}}}); err != nil {
				t.Fatal(err)
			}
			again, at := [][]float32{}, 0
			for range ids {
				rows = rows[:0]
				rows = append(rows, at)
				at++
				if err := m.Logits(rows, func(_ int, z []float32) error {
					again = append(again, append([]float32(nil), z...))
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
			same(t, "layers that share a cache", whole, again)
		}
		var states []byte
		if err := m.Residual(len(ids), func(_ int, x []float32) error {
			for _, v := range x {
				states = binary.LittleEndian.AppendUint32(states, math.Float32bits(v))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		run := func(m *model.Model) {
			cache.Reset()
			if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Seq: 0, Tokens: ids}}}); err != nil {
				t.Fatal(err)
			}
		}
		run(other)
		run(m)
		rows = []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
		want, err := model.CompareLogits(m, other, rows)
		if err != nil {
			t.Fatal(err)
		}
		front := append(make([]byte, 4*c.HiddenSize*2), states...) // two other states before them
		kept := checkpoint.Tensor{Name: "states", DType: checkpoint.F32, Shape: []int{len(ids) + 2, c.HiddenSize}, Data: front}
		k, err := model.LoadCachedStates(m.Device(), src, kept, len(ids))
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Load(2, len(ids)); err != nil {
			t.Fatal(err)
		}
		got, err := model.CompareLogits(k, other, rows)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if want[i] != got[i] || want[i].KL == 0 {
				t.Errorf("position %d: want %+v, got %+v", i, want[i], got[i])
			}
		}
		hidden := func(r model.Reference) (out [][]float32) {
			if err := r.Hidden(rows, func(_ int, h []float32) error {
				out = append(out, append([]float32(nil), h...))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return out
		}
		same(t, "hidden states", hidden(m), hidden(k))
		if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Seq: 0, Tokens: ids[:1]}}}); err == nil {
			t.Error("want a refusal to go on with a cache for whole passes")
		}
		for _, bad := range [][2]int{{-1, 2}, {0, len(ids) + 1}, {3, len(ids)}, {0, 0}} {
			if err := k.Load(bad[0], bad[1]); err == nil {
				t.Errorf("take %v: want an error", bad)
			}
		}
		kept.Shape = []int{c.HiddenSize, len(ids) + 2}
		if _, err := model.LoadCachedStates(m.Device(), src, kept, 1); err == nil {
			t.Error("want a refusal of states of another width")
		}
	}
}

// A pass that begins in front of a layer, with the streams that another left there,
// has the bits of a whole one.
func TestBeginning(t *testing.T) {
	c := odd()
	m := load(t, checkpoint.Random(c, 3, checkpoint.BF16), 2)
	ids := []int{5, 99, 3, 7, 7, 0, 64, 12}
	chunk := []model.Chunk{{Seq: 0, Tokens: ids}}
	cache, err := kvcache.NewWhole(m.Device(), c, len(ids))
	if err != nil {
		t.Fatal(err)
	}
	end := func(b model.CachedPrefix) (out [][]float32) {
		t.Helper()
		cache.Reset()
		if err := m.Forward(model.Pass{Cache: cache, Chunks: chunk, Prefix: b}); err != nil {
			t.Fatal(err)
		}
		if err := m.Residual(len(ids), func(_ int, x []float32) error {
			out = append(out, append([]float32(nil), x...))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	whole := end(model.CachedPrefix{})
	for at := range len(c.Layers) + 1 {
		var streams []float32
		take := func(x []float32) error { streams = append(streams[:0], x...); return nil }
		same(t, "leaving a beginning", whole, end(model.CachedPrefix{StoreAt: at, Store: take}))
		same(t, "from a beginning", whole, end(model.CachedPrefix{LoadAt: at, Load: func(x []float32) error { copy(x, streams); return nil }}))
	}
	for _, b := range []model.CachedPrefix{{LoadAt: -1}, {LoadAt: len(c.Layers) + 1}, {StoreAt: len(c.Layers) + 1, Store: func([]float32) error { return nil }}} {
		if err := m.Forward(model.Pass{Cache: cache, Chunks: chunk, Prefix: b}); err == nil {
			t.Errorf("%+v is taken", b)
		}
	}
}
