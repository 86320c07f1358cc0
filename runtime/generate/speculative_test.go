package generate

import (
	"math"
	"slices"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device/cpu"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// similarModels are two models of one vocabulary of which the second has the first layers of
// the first one, so that it often proposes the right token.
func similarModels(t *testing.T, vocabulary int, std float64) (target, draft *model.Model) {
	t.Helper()
	layers := []config.LayerShape{{Heads: 3, KVHeads: 1, HeadDim: 4, Intermediate: 7}, {HeadDim: 4, Intermediate: 5}, {Heads: 2, KVHeads: 2, HeadDim: 4}}
	for _, n := range []int{3, 2} {
		c := &config.Config{VocabSize: vocabulary, HiddenSize: 12, HeadDim: 4, Layers: layers[:n], RopeTheta: 10000, NormEps: 1e-5, MaxPositions: 200, BOS: 1, DType: "float32", Extra: map[string]any{"initializer_range": std}}
		dev, err := cpu.New(2)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { dev.Close() })
		m, err := model.Load(dev, checkpoint.Random(c, 3, checkpoint.F32))
		if err != nil {
			t.Fatal(err)
		}
		target, draft = draft, m
	}
	return target, draft
}

func speculate(t *testing.T, target, draft *model.Model, n int, prompt []int, o Options) ([]int, Speculation) {
	t.Helper()
	cache, err := kvcache.New(target.Device(), target.Config, kvcache.Options{Slots: 1, MaxPositions: 150})
	if err != nil {
		t.Fatal(err)
	}
	other, err := kvcache.New(draft.Device(), draft.Config, kvcache.Options{Slots: 1, MaxPositions: 150})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	defer other.Close()
	var out []int
	stats, err := RunSpeculative(t.Context(), target, cache, Draft{draft, other, n}, prompt, o, func(token int) bool {
		out = append(out, token)
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, stats
}

// Without a temperature the tokens are those of the model alone, with any draft and any number
// of proposals, with a penalty, and where the sequence ends at EOS or the context is full.
func TestSpeculativeIsGreedy(t *testing.T) {
	target, draft := similarModels(t, 50, 0.7)
	accepted := 0
	for _, o := range []Options{{MaxTokens: 40}, {MaxTokens: 40, SamplingParams: SamplingParams{RepetitionPenalty: 1.3}}, {MaxTokens: 1}, {MaxTokens: 2}, {MaxTokens: 0}, {MaxTokens: 130}} {
		for seed := range 4 {
			p := prompt(seed, 3+5*seed)
			o.MaxTokens = min(o.MaxTokens, 150-len(p)+1)
			for _, eos := range [][]int{nil, {7, 21}} {
				target.Config.EOS = eos
				want, err := continuations(t, target, [][]int{p}, o, nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range []int{0, 1, 3, MaxDraft} {
					for _, by := range []*model.Model{draft, target} {
						if by == target {
							by = sameModel(t, target)
						}
						got, stats := speculate(t, target, by, n, p, o)
						if !slices.Equal(got, want[0]) {
							t.Fatalf("%+v, %d at a time, EOS %v: want %v, got %v", o, n, eos, want[0], got)
						}
						accepted += stats.Accepted
					}
				}
			}
		}
	}
	target.Config.EOS = nil
	if accepted == 0 {
		t.Error("nothing was ever accepted")
	}
	if _, stats := speculate(t, target, sameModel(t, target), 4, prompt(1, 5), Options{MaxTokens: 41}); stats.Accepted != stats.Drafted || stats.Passes != 8 {
		t.Errorf("a draft that is the model itself: got %+v", stats)
	}
}

// sameModel is a second copy of a model, on a device of its own.
func sameModel(t *testing.T, m *model.Model) *model.Model {
	t.Helper()
	dev, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	copied, err := model.Load(dev, checkpoint.Random(m.Config, 3, checkpoint.F32))
	if err != nil {
		t.Fatal(err)
	}
	return copied
}

// With a temperature tokens have the distribution of the model alone, also behind filters and
// whatever the draft proposes.
func TestSpeculativeDistribution(t *testing.T) {
	target, draft := similarModels(t, 6, 0.5)
	const n, length = 3000, 3
	for _, params := range []SamplingParams{{Temperature: 1}, {Temperature: 0.8, TopK: 4, TopP: 0.95}} {
		var plain, speculative [length][6]float64
		for seed := range uint64(n) {
			params.Seed = seed
			o := Options{MaxTokens: length, SamplingParams: params}
			want, err := continuations(t, target, [][]int{{1, 2}}, o, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := speculate(t, target, draft, 2, []int{1, 2}, o)
			for i := range length {
				plain[i][want[0][i]]++
				speculative[i][got[i]]++
			}
		}
		for i := range length {
			for token := range 6 {
				// Six standard deviations of the difference of two counts.
				a, b := plain[i][token], speculative[i][token]
				if math.Abs(a-b) > 6*math.Sqrt(a+b+1) {
					t.Errorf("%+v: token %d at position %d: %v of %d alone, %v with a draft", params, token, i, a, n, b)
				}
			}
		}
	}
}

func TestBestDraft(t *testing.T) {
	for _, c := range []struct {
		rate, share float64
		want        int
	}{{0.05, 0.9, 0}, {0.95, 0.01, MaxDraft}, {0.8, 0.5, 2}, {0.7, 2, 0}} {
		if got := bestDraft(c.rate, c.share); got != c.want {
			t.Errorf("rate %v, share %v: want %d, got %d", c.rate, c.share, c.want, got)
		}
	}
}
