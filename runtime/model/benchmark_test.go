package model_test

import (
	"fmt"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// tinyLlama is a model of TinyLlama-1.1B's shapes with random weights, and a cache of
// 1024 positions.
func tinyLlama(b *testing.B) (*model.Model, *kvcache.Cache) {
	c, err := config.Preset("tinyllama-1.1b")
	if err != nil {
		b.Fatal(err)
	}
	m := load(b, checkpoint.Random(c, 0, checkpoint.BF16), 0)
	cache, err := kvcache.NewSequences(m.Device(), c, 1, 1024)
	if err != nil {
		b.Fatal(err)
	}
	return m, cache
}

func benchmarkPrefill(b *testing.B, n int) {
	m, cache := tinyLlama(b)
	tokens := make([]int, n)
	for b.Loop() {
		cache.Reset()
		if _, err := cache.Alloc(); err != nil {
			b.Fatal(err)
		}
		if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Slot: 0, Tokens: tokens}}}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "tokens/s")
}

func BenchmarkPrefill512(b *testing.B) { benchmarkPrefill(b, 512) }
func BenchmarkPrefill12(b *testing.B)  { benchmarkPrefill(b, 12) }

func BenchmarkDecode(b *testing.B) {
	m, cache := tinyLlama(b)
	benchmarkDecode(b, m, cache)
	b.ReportMetric(float64(m.BytesPerToken(76))*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
}

// BenchmarkDecodeSmall decodes with the demo's model, whose weights are so small that a
// step's time is that of everything besides reading them.
func BenchmarkDecodeSmall(b *testing.B) {
	src, err := checkpoint.Open("../../bench/demo/model")
	if err != nil {
		b.Fatal(err)
	}
	defer src.Close()
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprint(threads), func(b *testing.B) {
			m := load(b, src, threads)
			cache, err := kvcache.NewSequences(m.Device(), m.Config, 1, 140)
			if err != nil {
				b.Fatal(err)
			}
			benchmarkDecode(b, m, cache)
		})
	}
}

// benchmarkDecode decodes positions 12 to 139 repeatedly.
func benchmarkDecode(b *testing.B, m *model.Model, cache *kvcache.Cache) {
	b.ReportAllocs()
	tokens := make([]int, 12)
	for b.Loop() {
		if cache.Len(0) < 12 || cache.Len(0) == 140 {
			cache.Reset()
			if _, err := cache.Alloc(); err != nil {
				b.Fatal(err)
			}
			if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Slot: 0, Tokens: tokens}}}); err != nil {
				b.Fatal(err)
			}
		}
		if err := m.Forward(model.Pass{Phase: device.Decode, Cache: cache, Chunks: []model.Chunk{{Slot: 0, Tokens: tokens[:1]}}}); err != nil {
			b.Fatal(err)
		}
		if err := m.Logits([]int{0}, func(int, []float32) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// A decode step allocates no memory: for a small model it takes only some 100 us.
func TestDecodeAllocatesNothing(t *testing.T) {
	src, err := checkpoint.Open("../../bench/demo/model")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	m := load(t, src, 2)
	cache, err := kvcache.NewSequences(m.Device(), m.Config, 2, 300)
	if err != nil {
		t.Fatal(err)
	}
	chunks, rows, sum := []model.Chunk{{Slot: 0, Tokens: []int{5}}, {Slot: 1, Tokens: []int{7}}}, []int{0, 1}, 0.0
	step := func() {
		if err := m.Forward(model.Pass{Phase: device.Decode, Cache: cache, Chunks: chunks}); err != nil {
			t.Fatal(err)
		}
		if err := m.Logits(rows, func(_ int, z []float32) error { sum += float64(z[0]); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for range 257 { // more positions than a block of attention
		step()
	}
	if n := testing.AllocsPerRun(20, step); n != 0 {
		t.Errorf("want no allocation in a step, got %v", n)
	}
}

// BenchmarkDecodeBatch decodes many sequences of the smallest preset at a time, with the
// KV cache of mop serve.
func BenchmarkDecodeBatch(b *testing.B) {
	c, err := config.Preset("smollm2-135m")
	if err != nil {
		b.Fatal(err)
	}
	m := loadWith(b, checkpoint.Random(c, 0, checkpoint.BF16), cpu.Options{KVType: checkpoint.F16})
	for _, n := range []int{1, 2, 4, 8, 16} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			cache, err := kvcache.NewSequences(m.Device(), c, n, 512)
			if err != nil {
				b.Fatal(err)
			}
			tokens, rows := make([]int, 128), make([]int, n)
			var prompts, steps []model.Chunk
			for i := range n {
				rows[i] = i
				prompts = append(prompts, model.Chunk{Slot: i, Tokens: tokens})
				steps = append(steps, model.Chunk{Slot: i, Tokens: tokens[:1]})
			}
			for b.Loop() {
				if cache.Len(0) < 128 || cache.Len(0) == 256 {
					b.StopTimer()
					cache.Reset()
					for range n {
						if _, err := cache.Alloc(); err != nil {
							b.Fatal(err)
						}
					}
					if err := m.Forward(model.Pass{Cache: cache, Chunks: prompts, LastOnly: true}); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				if err := m.Forward(model.Pass{Phase: device.Decode, Cache: cache, Chunks: steps}); err != nil {
					b.Fatal(err)
				}
				if err := m.Logits(rows, func(int, []float32) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}
