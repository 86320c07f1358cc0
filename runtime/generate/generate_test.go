package generate

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device/cpu"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// heterogeneousModel has random weights and layers that differ.
func heterogeneousModel(t *testing.T) *model.Model {
	t.Helper()
	c := &config.Config{VocabSize: 50, HiddenSize: 12, HeadDim: 4, Layers: []config.LayerShape{{Heads: 3, KVHeads: 1, HeadDim: 4, Intermediate: 7}, {HeadDim: 4, Intermediate: 5}, {Heads: 2, KVHeads: 2, HeadDim: 4}},
		RopeTheta: 10000, NormEps: 1e-5, MaxPositions: 700, BOS: 1, DType: "float32", Extra: map[string]any{"initializer_range": 0.7}}
	dev, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	m, err := model.Load(dev, checkpoint.Random(c, 3, checkpoint.F32))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// continuations runs prompts and returns the continuation of each.
func continuations(t *testing.T, m *model.Model, prompts [][]int, o Options, done func(seqs, tokens []int) []int) ([][]int, error) {
	t.Helper()
	longest := 0
	for _, p := range prompts {
		longest = max(longest, len(p))
	}
	cache, err := kvcache.NewSequences(m.Device(), m.Config, len(prompts), min(longest+o.MaxTokens, m.Config.MaxPositions))
	if err != nil {
		t.Fatal(err)
	}
	out := make([][]int, len(prompts))
	err = Run(t.Context(), m, cache, prompts, o, func(seqs, tokens []int) []int {
		for i, s := range seqs {
			out[s] = append(out[s], tokens[i])
		}
		if done == nil {
			return nil
		}
		return done(seqs, tokens)
	})
	return out, err
}

func prompt(seed, n int) []int {
	tokens := []int{1}
	for i := 1; i < n; i++ {
		tokens = append(tokens, (seed+i*i*7)%50)
	}
	return tokens
}

// Decoding step by step agrees with one pass over all tokens: each token is the argmax after
// those before it. The prompt is longer than a prefill pass.
func TestGreedyIsArgmax(t *testing.T) {
	m := heterogeneousModel(t)
	p := prompt(5, m.PrefillRows()+40)
	got, err := continuations(t, m, [][]int{p}, Options{MaxTokens: 12, IgnoreEOS: true}, nil)
	if err != nil || len(got[0]) != 12 {
		t.Fatalf("got %v, %v", got, err)
	}
	all := append(slices.Clone(p), got[0]...)
	cache, err := kvcache.NewSequences(m.Device(), m.Config, 1, len(all))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Tokens: all}}}); err != nil {
		t.Fatal(err)
	}
	rows := make([]int, 12)
	for i := range rows {
		rows[i] = len(p) - 1 + i
	}
	if err := m.Logits(rows, func(i int, z []float32) error {
		if best := slices.Index(z, slices.Max(z)); best != got[0][i] {
			t.Errorf("token %d: want %d, got %d", i, best, got[0][i])
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// The sequences of a batch have the tokens that each has alone, also where some end before
// others.
func TestBatchIsSingles(t *testing.T) {
	m := heterogeneousModel(t)
	prompts := [][]int{prompt(1, 3), prompt(2, 9), prompt(3, 1), prompt(4, 5)}
	o := Options{MaxTokens: 10, IgnoreEOS: true}
	var want [][]int
	for _, p := range prompts {
		one, err := continuations(t, m, [][]int{p}, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, one[0])
	}
	got, err := continuations(t, m, prompts, o, nil)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("want %v\ngot  %v, %v", want, got, err)
	}
	steps := 0
	got, err = continuations(t, m, prompts, o, func([]int, []int) []int {
		if steps++; steps == 4 {
			return []int{0, 2}
		}
		return nil
	})
	want[0], want[2] = want[0][:4], want[2][:4]
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("two end at the fourth token: want %v\ngot  %v, %v", want, got, err)
	}
}

// An EOS token ends a sequence and is not emitted; with IgnoreEOS the sequence goes on.
func TestEOS(t *testing.T) {
	m := heterogeneousModel(t)
	p := [][]int{prompt(1, 4), prompt(2, 4)}
	free, err := continuations(t, m, p, Options{MaxTokens: 8, IgnoreEOS: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.Config.EOS = []int{49, free[0][5]}
	got, err := continuations(t, m, p, Options{MaxTokens: 8}, nil)
	for i := range p {
		want := free[i]
		if at := slices.IndexFunc(want, func(token int) bool { return slices.Contains(m.Config.EOS, token) }); at >= 0 {
			want = want[:at]
		}
		if err != nil || !slices.Equal(got[i], want) {
			t.Errorf("sequence %d: want %v, got %v, %v", i, want, got[i], err)
		}
	}
	if len(got[0]) > 5 {
		t.Errorf("the first sequence has %d tokens", len(got[0]))
	}
	forced, err := continuations(t, m, p, Options{MaxTokens: 8, IgnoreEOS: true}, nil)
	if err != nil || !reflect.DeepEqual(forced, free) {
		t.Errorf("forced: want %v, got %v, %v", free, forced, err)
	}
}

func TestRunRefuses(t *testing.T) {
	m := heterogeneousModel(t)
	cache, err := kvcache.NewSequences(m.Device(), m.Config, 1, 8)
	if err != nil {
		t.Fatal(err)
	}
	quiet := func(_, _ []int) []int { return nil }
	for what, c := range map[string]struct {
		prompts [][]int
		o       Options
		want    error
	}{
		"two prompts for one sequence":   {[][]int{{1}, {1}}, Options{MaxTokens: 1}, nil},
		"an empty prompt":                {[][]int{{}}, Options{MaxTokens: 1}, nil},
		"a prompt beyond the cache":      {[][]int{prompt(1, 9)}, Options{MaxTokens: 1}, model.ErrContext},
		"a token beyond the vocabulary":  {[][]int{{1, 50}}, Options{MaxTokens: 1}, model.ErrVocabulary},
		"more tokens than the cache has": {[][]int{{1}}, Options{MaxTokens: 10, IgnoreEOS: true}, model.ErrContext}, // the last needs no position
		"a temperature below 0":          {[][]int{{1}}, Options{SamplingParams: SamplingParams{Temperature: -1}}, nil},
	} {
		err := Run(t.Context(), m, cache, c.prompts, c.o, quiet)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: want an error %v, got %v", what, c.want, err)
		}
	}
	stopped, stop := context.WithCancel(t.Context())
	steps := 0
	err = Run(stopped, m, cache, [][]int{{1}}, Options{MaxTokens: 8, IgnoreEOS: true}, func(_, _ []int) []int {
		if steps++; steps == 3 {
			stop()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || steps != 3 {
		t.Errorf("stopped at the third token: %d tokens, %v", steps, err)
	}
}

// Prompts share a prefill pass as long as they fit, also with the end of a longer one.
func TestPrefillPasses(t *testing.T) {
	lengths := func(all [][]model.Chunk) (out [][][2]int) {
		for _, pass := range all {
			var one [][2]int
			for _, c := range pass {
				one = append(one, [2]int{c.Slot, len(c.Tokens)})
			}
			out = append(out, one)
		}
		return out
	}
	for _, c := range []struct {
		prompts []int
		want    [][][2]int
	}{
		{[]int{3, 4, 1, 2}, [][][2]int{{{0, 3}, {1, 4}, {2, 1}}, {{3, 2}}}},
		{[]int{8}, [][][2]int{{{0, 8}}}},
		{[]int{1, 20, 4, 1}, [][][2]int{{{0, 1}}, {{1, 8}}, {{1, 8}}, {{1, 4}, {2, 4}}, {{3, 1}}}},
		{[]int{16, 1}, [][][2]int{{{0, 8}}, {{0, 8}}, {{1, 1}}}},
	} {
		var prompts [][]int
		token := 0
		for _, n := range c.prompts {
			p := make([]int, n)
			for i := range p {
				p[i], token = token, token+1
			}
			prompts = append(prompts, p)
		}
		all := prefillPasses(prompts, 8)
		if got := lengths(all); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: want sequences and lengths %v, got %v", c.prompts, c.want, got)
		}
		next := 0
		for _, pass := range all {
			for _, chunk := range pass {
				for _, token := range chunk.Tokens {
					if token != next {
						t.Fatalf("%v: want token %d, got %d", c.prompts, next, token)
					}
					next++
				}
			}
		}
		if next != token {
			t.Errorf("%v: want %d tokens, got %d", c.prompts, token, next)
		}
	}
}
