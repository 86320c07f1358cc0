//go:build cuda || cudaemu

package cuda

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
	"mop/runtime/random"
)

// Sequences with different lengths and sampling parameters join and leave a decoder in any
// order. Each gets the tokens that it gets alone, sampled by the host, in any slot and row.
// Joining and leaving within a bucket captures nothing, and a bucket is captured only once.
func TestSequencesJoinAndLeave(t *testing.T) { checkJoinAndLeave(t, open(t, orders[0])) }

func checkJoinAndLeave(t *testing.T, d *Device) {
	t.Helper()
	src, err := checkpoint.Open("../../model/testdata/different-bf16")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	m, err := model.Load(d, src)
	if err != nil {
		t.Fatal(err)
	}
	host, err := model.Load(struct{ device.Device }{d}, src)
	if err != nil {
		t.Fatal(err)
	}
	params := []device.SamplingParams{{}, {RepetitionPenalty: 1.3, Seed: 1}, {Temperature: 1, Seed: 2}, {Temperature: 1.2, TopK: 9, RepetitionPenalty: 1.1, Seed: 3}, {Temperature: 1.5, TopP: 0.8, MinP: 0.01, Seed: 4}}
	r := rand.New(rand.NewPCG(6, 7))
	type sequence struct {
		prompt    []int
		by        device.SamplingParams
		want, got []int
		slot      int
	}
	var all []*sequence
	const most = 90
	sequences := 9
	if testing.Short() {
		sequences = 6
	}
	for i := range sequences {
		s := &sequence{by: params[i%len(params)]}
		for range []int{1, 5, 63, 70}[r.IntN(4)] {
			s.prompt = append(s.prompt, r.IntN(m.Config.VocabSize))
		}
		alone, err := kvcache.New(d, host.Config, kvcache.Options{Slots: 1, MaxPositions: most})
		if err != nil {
			t.Fatal(err)
		}
		o := generate.Options{MaxTokens: 3 + r.IntN(6), IgnoreEOS: true, SamplingParams: s.by}
		if err := generate.Run(context.Background(), host, alone, [][]int{s.prompt}, o, func(_, tokens []int) []int { s.want = append(s.want, tokens[0]); return nil }); err != nil {
			t.Fatal(err)
		}
		alone.Close()
		all = append(all, s)
	}

	cache, err := kvcache.New(d, m.Config, kvcache.Options{Slots: 4, MaxPositions: most})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	decoder, err := m.GraphDecoder(cache)
	if err != nil {
		t.Fatal(err)
	}
	run := func() {
		for _, s := range all {
			s.got = nil
		}
		waiting, live := slices.Clone(all), map[int]*sequence{}
		for len(waiting) > 0 || len(live) > 0 {
			for len(waiting) > 0 && len(live) < 4 && (len(live) == 0 || r.IntN(2) == 0) {
				s := waiting[0]
				waiting = waiting[1:]
				if s.slot, err = cache.Alloc(); err != nil {
					t.Fatal(err)
				}
				if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Slot: s.slot, Tokens: s.prompt}}}); err != nil {
					t.Fatal(err)
				}
				// The first token is the host's; the decoder goes on from there.
				s.got = append(s.got, s.want[0])
				if err := decoder.Join(s.slot, s.got[0], s.by, random.Key(s.by.Seed, "draw/0"), append(slices.Clone(s.prompt), s.got[0])); err != nil {
					t.Fatal(err)
				}
				live[s.slot] = s
			}
			for range 1 + r.IntN(2) {
				if _, err := decoder.Launch(); err != nil {
					t.Fatal(err)
				}
			}
			if err := decoder.Wait(func(slot, token int) {
				s := live[slot]
				if s.got = append(s.got, token); len(s.got) == len(s.want) {
					decoder.Leave(slot)
					cache.Free(slot)
					delete(live, slot)
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
		for i, s := range all {
			if !slices.Equal(s.got, s.want) {
				t.Errorf("sequence %d, a prompt of %d, %+v: want %v, got %v", i, len(s.prompt), s.by, s.want, s.got)
			}
		}
		if err := decoder.Reset(); err != nil {
			t.Fatal(err)
		}
	}
	run()
	if n := decoder.Captures(); n > 3*2 { // buckets of 1, 2 and 4, with filters and without
		t.Errorf("want at most 6 captures, got %d", n)
	}
	if used, _ := cache.Pages(); used != 0 {
		t.Errorf("want no page in use, got %d", used)
	}

	// Within the bucket of four, with three or four sequences: one capture in all.
	if err := decoder.Close(); err != nil {
		t.Fatal(err)
	}
	if decoder, err = m.GraphDecoder(cache); err != nil {
		t.Fatal(err)
	}
	slots, err := cache.AllocN(4)
	if err != nil {
		t.Fatal(err)
	}
	join := func(slot int) {
		if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Slot: slot, Tokens: []int{1, 2}}}}); err != nil {
			t.Fatal(err)
		}
		if err := decoder.Join(slot, 3, device.SamplingParams{Temperature: float64(slot) / 2}, 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	step := func() {
		if _, err := decoder.Launch(); err != nil {
			t.Fatal(err)
		}
		if err := decoder.Wait(func(int, int) {}); err != nil {
			t.Fatal(err)
		}
	}
	for _, slot := range slots {
		join(slot)
	}
	for i := range 6 {
		step()
		slot := i % 4
		decoder.Leave(slot)
		cache.Free(slot)
		step()
		if got, err := cache.Alloc(); err != nil || got != slot {
			t.Fatalf("want slot %d, got %d, %v", slot, got, err)
		}
		join(slot)
	}
	if n := decoder.Captures(); n != 1 {
		t.Errorf("joining and leaving within a bucket: want 1 capture, got %d", n)
	}
}
