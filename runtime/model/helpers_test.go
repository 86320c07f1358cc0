package model_test

import (
	"math"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device/cpu"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

func load(t testing.TB, src checkpoint.Source, threads int) *model.Model {
	t.Helper()
	return loadWith(t, src, cpu.Options{Threads: threads})
}

func loadWith(t testing.TB, src checkpoint.Source, o cpu.Options) *model.Model {
	t.Helper()
	dev, err := cpu.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	m, err := model.Load(dev, src)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// oddShapes is a model whose layers all differ: some lack a block, and no size is a
// multiple of a vector's or a tile's.
func oddShapes() *config.Config {
	c := &config.Config{VocabSize: 101, HiddenSize: 37, HeadDim: 6, RopeTheta: 1e4, NormEps: 1e-5, MaxPositions: 128, BOS: 1, DType: "bfloat16"}
	for _, s := range [][3]int{{6, 2, 41}, {0, 0, 53}, {5, 5, 0}, {1, 1, 1}, {7, 1, 128}} {
		c.Layers = append(c.Layers, config.LayerShape{Heads: s[0], KVHeads: s[1], HeadDim: 6, Intermediate: s[2]})
	}
	return c
}

// logits returns the logits of all positions of each chunk, with one pass for each entry.
func logits(t *testing.T, m *model.Model, sequences int, passes ...[]model.Chunk) [][]float32 {
	t.Helper()
	cache, err := kvcache.NewSequences(m.Device(), m.Config, sequences, 128)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]float32
	for _, chunks := range passes {
		if err := m.Forward(model.Pass{Cache: cache, Chunks: chunks}); err != nil {
			t.Fatal(err)
		}
		var rows []int
		for _, c := range chunks {
			for range c.Tokens {
				rows = append(rows, len(rows))
			}
		}
		if err := m.Logits(rows, func(_ int, z []float32) error {
			out = append(out, append([]float32(nil), z...))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func same(t *testing.T, what string, a, b [][]float32) {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("%s: %d rows against %d", what, len(a), len(b))
	}
	for i := range a {
		for j := range a[i] {
			if math.Float32bits(a[i][j]) != math.Float32bits(b[i][j]) {
				t.Fatalf("%s: row %d, logit %d: %v against %v", what, i, j, a[i][j], b[i][j])
			}
		}
	}
}
