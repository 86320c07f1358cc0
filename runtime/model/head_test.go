package model_test

import (
	"math"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// Logits from kept hidden states are the bits of logits from the pass itself,
// and a cache whose layers share their memory gives the bits of one whose layers
// do not; tied or not, whatever the order of the states.
func TestHeadAndWholePasses(t *testing.T) {
	c := odd()
	for _, c.Tied = range []bool{false, true} {
		src := checkpoint.Random(c, 3, checkpoint.BF16)
		m := load(t, src, 2)
		ids := []int{5, 99, 3, 7, 7, 0, 64, 12, 1, 2, 3, 50, 51, 52, 53, 54, 55, 56, 57}
		want := logits(t, m, 1, []model.Chunk{{Seq: 0, IDs: ids}})

		cache, err := kvcache.NewWhole(m.Device(), c, len(ids))
		if err != nil {
			t.Fatal(err)
		}
		var rows []int
		for i := range ids {
			rows = append(rows, i)
		}
		var states []byte
		for range 2 {
			cache.Reset()
			if err := m.Forward(cache, []model.Chunk{{Seq: 0, IDs: ids}}, nil); err != nil {
				t.Fatal(err)
			}
			states = states[:0]
			if err := m.Hidden(rows, func(_ int, h []float32) error {
				for _, x := range h {
					states = append(states, byte(math.Float32bits(x)), byte(math.Float32bits(x)>>8), byte(math.Float32bits(x)>>16), byte(math.Float32bits(x)>>24))
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Forward(cache, []model.Chunk{{Seq: 0, IDs: ids[:1]}}, nil); err == nil {
			t.Error("want a refusal to go on with a cache for whole passes")
		}
		kept := checkpoint.Tensor{Name: "states", DType: checkpoint.F32, Shape: []int{len(ids), c.Dim}, Data: states}
		head, err := model.LoadHead(m.Device(), src, kept)
		if err != nil {
			t.Fatal(err)
		}
		order := append(append([]int{}, rows[7:]...), rows[:7]...)
		got := make([][]float32, len(ids))
		if err := head.Logits(order, func(i int, z []float32) error {
			got[order[i]] = append([]float32(nil), z...)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		same(t, "from kept states", want, got)
		kept.Shape = []int{c.Dim, len(ids)}
		if _, err := model.LoadHead(m.Device(), src, kept); err == nil {
			t.Error("want a refusal of states of another width")
		}
	}
}
