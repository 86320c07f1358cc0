package criterion_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"mop/prune/criterion"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/dataset"
	"mop/runtime/device/cpu"
	"mop/runtime/metric"
	"mop/runtime/model"
)

// Scores against cached states have the same bits as those against the model that the
// states come from. A file with another key, a torn one and a changed one are refused.
func TestCachedReference(t *testing.T) {
	c := &config.Config{VocabSize: 61, HiddenSize: 20, HeadDim: 4, RopeTheta: 1e4, NormEps: 1e-5, MaxPositions: 64, BOS: 1, DType: "bfloat16"}
	for range 3 {
		c.Layers = append(c.Layers, config.LayerShape{Heads: 4, KVHeads: 2, HeadDim: 4, Intermediate: 33})
	}
	dev, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	var windows []dataset.Window
	for w, n := range []int{40, 1, 17} {
		tokens := make([]int, n)
		for i := range tokens {
			tokens[i] = (7*i + 3*w) % c.VocabSize
		}
		windows = append(windows, dataset.Window{Tokens: tokens, FirstScored: 1})
	}
	src := checkpoint.Random(c, 1, checkpoint.BF16)
	base, err := model.Load(dev, src)
	if err != nil {
		t.Fatal(err)
	}
	other, err := model.Load(dev, checkpoint.Random(c, 2, checkpoint.BF16))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "states")
	if _, err := criterion.OpenCachedReference(path, "key", dev, src, windows); !errors.Is(err, criterion.ErrNotCached) {
		t.Errorf("no file: want ErrNotCached, got %v", err)
	}
	ticks := 0
	if err := criterion.CacheReference(ctx, path, "key", base, windows, nil, func() { ticks++ }); err != nil {
		t.Fatal(err)
	}
	if ticks != len(windows) {
		t.Errorf("want %d ticks, got %d", len(windows), ticks)
	}
	cached, err := criterion.OpenCachedReference(path, "key", dev, src, windows)
	if err != nil {
		t.Fatal(err)
	}
	defer cached.Close()
	live, err := metric.NewLiveReference(base, windows)
	if err != nil {
		t.Fatal(err)
	}
	for _, scorer := range criterion.Scorers() {
		want, err := scorer.Score(ctx, criterion.Candidate{Model: other, Windows: windows, Reference: live, LatencyMS: 1, DenseLatencyMS: 2})
		if err != nil {
			t.Fatal(err)
		}
		got, err := scorer.Score(ctx, criterion.Candidate{Model: other, Windows: windows, Reference: cached, LatencyMS: 1, DenseLatencyMS: 2})
		if err != nil {
			t.Fatal(err)
		}
		if got != want || want-want != 0 {
			t.Errorf("%s: want %v, got %v", scorer.Name(), want, got)
		}
		name := scorer.Name()
		self, err := scorer.Score(ctx, criterion.Candidate{Model: base, Windows: windows, Reference: cached, LatencyMS: 1, DenseLatencyMS: 2})
		if perfect := map[string]float64{"kl": 0, "cosine": 1, "cosine-hidden": 1}; err != nil || name != "ppl" && !(self-perfect[name] < 1e-12 && perfect[name]-self < 1e-12) {
			t.Errorf("%s of the base itself: want %v, got %v, %v", name, perfect[name], self, err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(data)) != criterion.CachedReferenceBytes(c.HiddenSize, windows) {
		t.Errorf("want %d bytes, got %d", criterion.CachedReferenceBytes(c.HiddenSize, windows), len(data))
	}
	if _, err := criterion.OpenCachedReference(path, "other", dev, src, windows); !errors.Is(err, criterion.ErrNotCached) {
		t.Errorf("another key: want ErrNotCached, got %v", err)
	}
	for name, bad := range map[string][]byte{"torn": data[:len(data)-1], "longer": append(data[:len(data):len(data)], 0),
		"changed": append([]byte{data[0] ^ 1}, data[1:]...), "empty": {}} {
		bent := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(bent, bad, 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := criterion.OpenCachedReference(bent, "key", dev, src, windows); !errors.Is(err, criterion.ErrNotCached) {
			t.Errorf("%s: want ErrNotCached, got %v", name, err)
		}
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	gone := filepath.Join(t.TempDir(), "states")
	if err := criterion.CacheReference(stopped, gone, "key", base, windows, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("want a stop, got %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(gone)); len(left) != 0 {
		t.Errorf("a stopped one left %v", left)
	}
}
