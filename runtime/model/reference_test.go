package model_test

import (
	"encoding/binary"
	"math"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// Comparisons with cached states have the bits of those with the model that stored
// them, and a cache whose layers share memory gives the bits of one whose layers do
// not; with tied embeddings and without.
func TestCachedStatesHaveTheBitsOfTheModel(t *testing.T) {
	c := oddShapes()
	for _, c.Tied = range []bool{false, true} {
		src := checkpoint.Random(c, 3, checkpoint.BF16)
		m := load(t, src, 2)
		other, err := model.Load(m.Device(), checkpoint.Random(c, 4, checkpoint.BF16))
		if err != nil {
			t.Fatal(err)
		}
		tokens := []int{5, 99, 3, 7, 7, 0, 64, 12, 1, 2, 3, 50, 51, 52, 53, 54, 55, 56, 57}
		whole := logits(t, m, 1, []model.Chunk{{Slot: 0, Tokens: tokens}})

		cache, err := kvcache.NewWhole(m.Device(), c, len(tokens))
		if err != nil {
			t.Fatal(err)
		}
		var rows []int
		for range 2 {
			cache.Reset()
			if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Slot: 0, Tokens: tokens}}}); err != nil {
				t.Fatal(err)
			}
			again, at := [][]float32{}, 0
			for range tokens {
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
		if err := m.Residual(len(tokens), func(_ int, x []float32) error {
			for _, v := range x {
				states = binary.LittleEndian.AppendUint32(states, math.Float32bits(v))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		run := func(m *model.Model) {
			cache.Reset()
			if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Slot: 0, Tokens: tokens}}}); err != nil {
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
		front := append(make([]byte, 4*c.HiddenSize*2), states...) // two other states come before them
		stored := checkpoint.Tensor{Name: "states", DType: checkpoint.F32, Shape: []int{len(tokens) + 2, c.HiddenSize}, Data: front}
		cached, err := model.LoadCachedStates(m.Device(), src, stored, len(tokens))
		if err != nil {
			t.Fatal(err)
		}
		if err := cached.Load(2, len(tokens)); err != nil {
			t.Fatal(err)
		}
		got, err := model.CompareLogits(cached, other, rows)
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
		same(t, "hidden states", hidden(m), hidden(cached))
		if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Slot: 0, Tokens: tokens[:1]}}}); err == nil {
			t.Error("a second pass with a cache for whole passes: want an error")
		}
		for _, bad := range [][2]int{{-1, 2}, {0, len(tokens) + 1}, {3, len(tokens)}, {0, 0}} {
			if err := cached.Load(bad[0], bad[1]); err == nil {
				t.Errorf("load %v: want an error", bad)
			}
		}
		stored.Shape = []int{c.HiddenSize, len(tokens) + 2}
		if _, err := model.LoadCachedStates(m.Device(), src, stored, 1); err == nil {
			t.Error("states of another hidden size: want an error")
		}
	}
}
