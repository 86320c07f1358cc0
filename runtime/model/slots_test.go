package model_test

import (
	"math/rand/v2"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// Sequences of very different lengths that are allocated, continued and freed in any order
// have the bits that each has alone, whatever slots and pages they get, in a model whose
// layers differ and of which one has no attention.
func TestSlotsAreIndependent(t *testing.T) {
	c := oddShapes()
	c.MaxPositions = 700
	m := load(t, checkpoint.Random(c, 3, checkpoint.F32), 2)
	r := rand.New(rand.NewPCG(4, 5))
	const sequences, slots = 12, 4
	logitsOf := func(row int) (out []float32) {
		if err := m.Logits([]int{row}, func(_ int, z []float32) error { out = append(out, z...); return nil }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	// What each sequence's passes give alone: the prompt, and then a token at a time.
	var prompts, next, cuts [sequences][]int
	var want [sequences][][]float32
	for s := range sequences {
		n := []int{1, 3, 40, 255, 256, 257, 600}[r.IntN(7)]
		for range n {
			prompts[s] = append(prompts[s], r.IntN(c.VocabSize))
		}
		for range 4 {
			next[s] = append(next[s], r.IntN(c.VocabSize))
		}
		cuts[s] = []int{0, r.IntN(n + 1), n} // the prompt comes in two passes
		alone, err := kvcache.NewSequences(m.Device(), c, 1, 700)
		if err != nil {
			t.Fatal(err)
		}
		for i := range cuts[s][1:] {
			if part := prompts[s][cuts[s][i]:cuts[s][i+1]]; len(part) > 0 {
				if err := m.Forward(model.Pass{Cache: alone, Chunks: []model.Chunk{{Tokens: part}}}); err != nil {
					t.Fatal(err)
				}
				want[s] = append(want[s], logitsOf(len(part)-1))
			}
		}
		for _, token := range next[s] {
			if err := m.Forward(model.Pass{Phase: device.Decode, Cache: alone, Chunks: []model.Chunk{{Tokens: []int{token}}}}); err != nil {
				t.Fatal(err)
			}
			want[s] = append(want[s], logitsOf(0))
		}
		alone.Close()
	}
	cache, err := kvcache.New(m.Device(), c, kvcache.Options{Slots: slots, MaxPositions: 700})
	if err != nil {
		t.Fatal(err)
	}
	type running struct{ sequence, slot, passes int }
	var live []running
	started := 0
	for started < sequences || len(live) > 0 {
		if started < sequences && len(live) < slots && (len(live) == 0 || r.IntN(2) == 0) {
			slot, err := cache.Alloc()
			if err != nil {
				t.Fatal(err)
			}
			live = append(live, running{sequence: started, slot: slot})
			started++
		}
		i := r.IntN(len(live))
		x := &live[i]
		s, given := x.sequence, cache.Len(x.slot)
		var tokens []int
		decode := given >= len(prompts[s])
		switch {
		case decode:
			at := given - len(prompts[s])
			tokens = next[s][at : at+1]
		case given < cuts[s][1]:
			tokens = prompts[s][:cuts[s][1]]
		default:
			tokens = prompts[s][given:]
		}
		chunk := []model.Chunk{{Slot: x.slot, Tokens: tokens}}
		if decode {
			err = m.Forward(model.Pass{Phase: device.Decode, Cache: cache, Chunks: chunk})
		} else {
			err = m.Forward(model.Pass{Cache: cache, Chunks: chunk})
		}
		if err != nil {
			t.Fatal(err)
		}
		got := logitsOf(len(tokens) - 1)
		for j, v := range want[s][x.passes] {
			if got[j] != v {
				t.Fatalf("sequence %d of %d tokens in slot %d: pass %d: logit %d: want %g, got %g", s, len(prompts[s]), x.slot, x.passes, j, v, got[j])
			}
		}
		if x.passes++; x.passes == len(want[s]) {
			cache.Free(x.slot)
			live[i] = live[len(live)-1]
			live = live[:len(live)-1]
		}
	}
	if used, _ := cache.Pages(); used != 0 {
		t.Errorf("want no page in use, got %d", used)
	}
}
