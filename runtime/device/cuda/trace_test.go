//go:build cuda || cudaemu

package cuda

import (
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/kvcache"
	"mop/runtime/model"
	"mop/runtime/train"
)

// A trace has every launch of a pass, of a captured decode step and of a training step, each
// with a time; what products must do is known; without a trace there is none.
func TestTrace(t *testing.T) {
	src, err := checkpoint.Open("../../model/testdata/gqa-bf16")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for _, set := range sets(t) {
		d := openSet(t, 1, set)
		m, err := model.Load(d, src)
		if err != nil {
			t.Fatal(err)
		}
		l, err := train.New(m, src, train.Options{Rank: 4, Alpha: 8, Targets: checkpoint.Projections()})
		if err != nil {
			t.Fatal(err)
		}
		run := func() (launches []device.Launch) {
			cache, err := kvcache.NewSequences(d, m.Config, 1, 64)
			if err != nil {
				t.Fatal(err)
			}
			defer cache.Close()
			decoder, err := m.GraphDecoder(cache)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.StartTrace(); err != nil {
				t.Fatal(err)
			}
			if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Tokens: []int{1, 2, 3}}}}); err != nil {
				t.Fatal(err)
			}
			if err := decoder.Reset(); err != nil {
				t.Fatal(err)
			}
			if err := decoder.Join(0, 4, device.SamplingParams{}, 3, []int{1}); err != nil {
				t.Fatal(err)
			}
			if ok, err := decoder.Launch(); !ok || err != nil {
				t.Fatal(ok, err)
			}
			if err := decoder.Wait(func(int, int) {}); err != nil {
				t.Fatal(err)
			}
			if _, err := l.ForwardBackward([]train.Sequence{{Tokens: []int{1, 2, 3}, Labels: []int{2, 3, -1}, Scale: 1}}); err != nil {
				t.Fatal(err)
			}
			launches, err = d.StopTrace()
			if err != nil {
				t.Fatal(err)
			}
			return launches
		}
		first, second := run(), run()
		if len(first) != len(second) || len(first) == 0 {
			t.Errorf("%s: want the same launches in each trace, got %d and %d", set, len(first), len(second))
		}
		seen := map[string]bool{}
		for _, l := range second {
			if seen[l.Kernel] = true; l.Time <= 0 {
				t.Errorf("%s: want a time, got %+v", set, l)
			}
		}
		for _, kernel := range []string{"argmax", "attention_forward_64", "lora_grad"} {
			if !seen[kernel] {
				t.Errorf("%s: want a launch of %s, got %v", set, kernel, seen)
			}
		}
		for _, l := range second {
			if l.Kernel == "lora_grad" && (l.Flops == 0 || l.Bytes == 0) {
				t.Errorf("%s: want the work of %s", set, l.Kernel)
			}
		}
		if _, err := d.StopTrace(); err == nil {
			t.Errorf("%s: want no trace that was not started", set)
		}
		if limits, err := d.Limits(); err != nil || limits.BytesPerSecond <= 0 || limits.FlopsPerSecond <= 0 {
			t.Errorf("%s: want limits, got %+v, %v", set, limits, err)
		}
		l.Close()
		m.Close()
	}
}
