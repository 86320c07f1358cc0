package model_test

import (
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// tiny is TinyLlama-1.1B's shape with random weights, ready for 1024 positions.
func tiny(b *testing.B) (*model.Model, *kvcache.Cache) {
	c, err := config.Preset("tinyllama-1.1b")
	if err != nil {
		b.Fatal(err)
	}
	m := load(b, checkpoint.Random(c, 0, checkpoint.BF16), 0)
	cache, err := kvcache.New(m.Device(), c, 1, 1024)
	if err != nil {
		b.Fatal(err)
	}
	return m, cache
}

func benchmarkPrefill(b *testing.B, n int) {
	m, cache := tiny(b)
	ids := make([]int, n)
	for b.Loop() {
		cache.Reset()
		if err := m.Forward(cache, []model.Chunk{{Seq: 0, IDs: ids}}, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "tokens/s")
}

func BenchmarkPrefill512(b *testing.B) { benchmarkPrefill(b, 512) }
func BenchmarkPrefill12(b *testing.B)  { benchmarkPrefill(b, 12) }

func BenchmarkDecode(b *testing.B) {
	m, cache := tiny(b)
	ids := make([]int, 12)
	for b.Loop() {
		if cache.Len[0] < 12 || cache.Len[0] == 140 {
			cache.Reset()
			if err := m.Forward(cache, []model.Chunk{{Seq: 0, IDs: ids}}, nil); err != nil {
				b.Fatal(err)
			}
		}
		if err := m.Decode(cache, []model.Chunk{{Seq: 0, IDs: ids[:1]}}); err != nil {
			b.Fatal(err)
		}
		if err := m.Logits([]int{0}, func(int, []float32) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(m.BytesPerToken(76))*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
}
