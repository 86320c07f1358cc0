package metric_test

import (
	"math"
	"slices"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/dataset"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/metric"
	"mop/runtime/model"
)

func host(t *testing.T) device.Device {
	t.Helper()
	d, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func load(t *testing.T, d device.Device, src checkpoint.Source) *model.Model {
	t.Helper()
	m, err := model.Load(d, src)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// small is a model of random weights.
func small(seed uint64) checkpoint.Source {
	c := &config.Config{VocabSize: 40, HiddenSize: 16, HeadDim: 4, Layers: []config.LayerShape{{Heads: 4, KVHeads: 2, HeadDim: 4, Intermediate: 9}, {HeadDim: 4, Intermediate: 5}},
		RopeTheta: 10000, NormEps: 1e-5, MaxPositions: 32, BOS: 1, EOS: []int{2}, DType: "float32", Extra: map[string]any{"initializer_range": 0.6}}
	return checkpoint.Random(c, seed, checkpoint.F32)
}

// logits [T][V] of some tokens.
func logits(t *testing.T, m *model.Model, tokens []int) [][]float32 {
	t.Helper()
	var out [][]float32
	w := dataset.Window{Tokens: tokens, FirstScored: 1}
	if err := metric.NLL(t.Context(), m, []dataset.Window{w}, nil, func(int, float64) {}); err != nil {
		t.Fatal(err)
	}
	rows := make([]int, len(tokens))
	for i := range rows {
		rows[i] = i
	}
	if err := m.Logits(rows, func(_ int, z []float32) error {
		out = append(out, slices.Clone(z))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func logSoftmax(z []float32) []float64 {
	top := float64(slices.Max(z))
	sum := 0.0
	for _, x := range z {
		sum += math.Exp(float64(x) - top)
	}
	out := make([]float64, len(z))
	for i, x := range z {
		out[i] = float64(x) - top - math.Log(sum)
	}
	return out
}
