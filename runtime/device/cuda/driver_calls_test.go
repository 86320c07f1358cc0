//go:build cuda && cudalibemu

package cuda

import (
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// A token is one graph launch and no other kernel launch. The host waits once for each token,
// while the next step is queued already. It uploads at the first step and where a sequence
// needs another page.
func TestOneGraphLaunchPerToken(t *testing.T) {
	src, err := checkpoint.Open("../../model/testdata/gqa-bf16")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	d := open(t, 1)
	m, err := model.Load(d, src)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	cache, err := kvcache.NewSequences(d, m.Config, 2, 128)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Slot: 0, Tokens: []int{1, 2, 3}}, {Slot: 1, Tokens: []int{1, 2}}}}); err != nil {
		t.Fatal(err)
	}
	now := func() driver.CallCounts {
		c, err := driver.CountCalls()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	decoder, err := m.GraphDecoder(cache)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		by             device.SamplingParams
		steps, uploads int // the rows, and what each has seen; a page of each layer and sequence
	}{
		{device.SamplingParams{}, 66, 1 + len(m.Config.Layers)*2},
		{device.SamplingParams{Temperature: 1, TopP: 0.9, RepetitionPenalty: 1.2}, 50, 1 + 2},
	} {
		run := func(steps int, each func()) {
			t.Helper()
			if err := decoder.Reset(); err != nil {
				t.Fatal(err)
			}
			for slot := range 2 {
				if err := decoder.Join(slot, 4+slot, c.by, uint64(3+slot), []int{1 + slot}); err != nil {
					t.Fatal(err)
				}
			}
			for queued := 0; ; {
				for queued < steps {
					ok, err := decoder.Launch()
					if err != nil {
						t.Fatal(err)
					}
					if !ok {
						break
					}
					queued++
				}
				if decoder.InFlight() == 0 {
					return
				}
				if err := decoder.Wait(func(int, int) {}); err != nil {
					t.Fatal(err)
				}
				each()
			}
		}
		run(1, func() {}) // captures
		before, said := now(), 0
		run(c.steps, func() {
			said++
			if got := now().Since(before); got.Graphs != min(said+1, c.steps) || got.Waits > said {
				t.Errorf("%+v: after the tokens of step %d: want %d steps launched and at most %d waits, got %+v", c.by, said, min(said+1, c.steps), said, got)
			}
		})
		got := now().Since(before)
		t.Logf("%+v: %d steps: %+v", c.by, said, got)
		if want := (driver.CallCounts{Graphs: c.steps, Waits: min(got.Waits, c.steps), In: c.uploads, Out: c.steps}); said != c.steps || got != want {
			t.Errorf("%+v: %d steps: want %+v, got %+v", c.by, said, want, got)
		}
	}
}
