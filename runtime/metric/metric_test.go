package metric_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"mop/internal/testutil"
	"mop/runtime/checkpoint"
	"mop/runtime/checkpoint/llama2c"
	"mop/runtime/config"
	"mop/runtime/dataset"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/metric"
	"mop/runtime/model"
	"mop/runtime/tokenizer"
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

// Trained models on real text have the nll that two independent programs found
// for the first 60 stories, each cut to the model's context.
func TestKnownPerplexities(t *testing.T) {
	for _, c := range []struct {
		weights, tokenizer string
		nll                float64
		tokens             int
	}{
		{"stories260K/stories260K.bin", "stories260K/tok512.bin", 1.2958, 20424},
		{"babyllama-tok105/model5000.bin", "babyllama-tok105/tok105.bin", 0.6174, 15300},
	} {
		src, err := llama2c.Open(testutil.DataPath(t, c.weights))
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		tok, err := tokenizer.OpenFile(testutil.DataPath(t, c.tokenizer))
		if err != nil {
			t.Fatal(err)
		}
		docs, err := dataset.Documents(testutil.DataPath(t, "tinystories/tinystories_sample_2M.txt"), "<|endoftext|>")
		if err != nil {
			t.Fatal(err)
		}
		m := load(t, host(t), src)
		n := m.Config.MaxPositions
		w, err := dataset.Windows(tok, docs[:60], n, 0, n-1)
		if err != nil {
			t.Fatal(err)
		}
		p, err := metric.Perplexity(t.Context(), m, w, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s, %s: nll %.4f over %d targets", c.weights, c.tokenizer, p.NLL, p.Tokens)
		if math.Abs(p.NLL-c.nll) > 0.002 || p.Tokens != c.tokens || math.Abs(p.PPL-math.Exp(p.NLL)) > 1e-9 {
			t.Errorf("%s, %s: want nll %v over %d targets, got %+v", c.weights, c.tokenizer, c.nll, c.tokens, p)
		}
	}
}

// small is a model of random weights.
func small(seed uint64) checkpoint.Source {
	c := &config.Config{VocabSize: 40, HiddenSize: 16, HeadDim: 4, Layers: []config.LayerShape{{Heads: 4, KVHeads: 2, HeadDim: 4, Intermediate: 9}, {HeadDim: 4, Intermediate: 5}},
		RopeTheta: 10000, NormEps: 1e-5, MaxPositions: 32, BOS: 1, EOS: []int{2}, DType: "float32", Extra: map[string]any{"initializer_range": 0.6}}
	return checkpoint.Random(c, seed, checkpoint.F32)
}

// The divergence is what its formula gives from the logits, in nats, the
// reference's distribution in front; that from itself is nothing.
func TestKLByFormula(t *testing.T) {
	d := host(t)
	ref, m := load(t, d, small(1)), load(t, d, small(2))
	windows := []dataset.Window{{Tokens: []int{1, 5, 9, 30, 12, 7}, FirstScored: 1}, {Tokens: []int{1, 39, 0, 4}, FirstScored: 1}}
	var kls []float64
	same := 0
	for _, w := range windows {
		p, q := logits(t, ref, w.Tokens), logits(t, m, w.Tokens)
		for i := range p {
			lp, lq := logSoftmax(p[i]), logSoftmax(q[i])
			kl := 0.0
			for id := range lp {
				kl += math.Exp(lp[id]) * (lp[id] - lq[id])
			}
			kls = append(kls, kl)
			if slices.Index(lp, slices.Max(lp)) == slices.Index(lq, slices.Max(lq)) {
				same++
			}
		}
	}
	got, err := metric.KL(t.Context(), ref, m, windows, nil)
	if err != nil {
		t.Fatal(err)
	}
	mean := 0.0
	for _, kl := range kls {
		mean += kl / float64(len(kls))
	}
	slices.Sort(kls)
	median := (kls[4] + kls[5]) / 2
	if got.Tokens != 10 || math.Abs(got.Mean-mean) > 1e-5*mean || math.Abs(got.Median-median) > 1e-5*median || got.SameArgmax != float64(same)/10 || mean < 0.01 {
		t.Errorf("want mean %v, median %v, %d of 10 the same; got %+v", mean, median, same, got)
	}
	if got.P99 < got.Median || got.P99 > kls[9]*(1+1e-5) {
		t.Errorf("99th percentile %v of %v", got.P99, kls)
	}
	self, err := metric.KL(t.Context(), ref, ref, windows, nil)
	if err != nil || math.Abs(self.Mean) > 1e-9 || self.SameArgmax != 1 {
		t.Errorf("from itself: %+v, %v", self, err)
	}
}

func TestKLRefuses(t *testing.T) {
	d := host(t)
	src := small(1)
	other := src.Config().Clone()
	other.VocabSize = 41
	windows := []dataset.Window{{Tokens: []int{1, 2}, FirstScored: 1}}
	if _, err := metric.KL(t.Context(), load(t, d, src), load(t, d, checkpoint.Random(other, 1, checkpoint.F32)), windows, nil); err == nil {
		t.Error("two vocabularies: want an error")
	}
	if _, err := metric.Perplexity(t.Context(), load(t, d, src), nil, nil); err == nil {
		t.Error("nothing to score: want an error")
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := metric.Perplexity(stopped, load(t, d, src), windows, nil); err == nil {
		t.Error("a run that was stopped: want an error")
	}
}

// logits [T][V] of some ids.
func logits(t *testing.T, m *model.Model, ids []int) [][]float32 {
	t.Helper()
	var out [][]float32
	w := dataset.Window{Tokens: ids, FirstScored: 1}
	if err := metric.NLL(t.Context(), m, []dataset.Window{w}, nil, func(int, float64) {}); err != nil {
		t.Fatal(err)
	}
	rows := make([]int, len(ids))
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
