package engine

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// heterogeneousModel has random weights and layers that differ.
func heterogeneousModel(t testing.TB) *model.Model {
	t.Helper()
	return heterogeneousModelWithCache(t, checkpoint.F32)
}

// heterogeneousModelWithCache is heterogeneousModel with a type of the KV cache.
func heterogeneousModelWithCache(t testing.TB, kv checkpoint.DType) *model.Model {
	t.Helper()
	c := &config.Config{VocabSize: 50, HiddenSize: 12, HeadDim: 4, Layers: []config.LayerShape{{Heads: 3, KVHeads: 1, HeadDim: 4, Intermediate: 7}, {HeadDim: 4, Intermediate: 5}, {Heads: 2, KVHeads: 2, HeadDim: 4}},
		RopeTheta: 10000, NormEps: 1e-5, MaxPositions: 700, BOS: 1, EOS: []int{49}, DType: "float32", Extra: map[string]any{"initializer_range": 0.7}}
	dev, err := cpu.Open(cpu.Options{Threads: 2, KVType: kv})
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

func newEngine(t testing.TB, m *model.Model, o Options) *Engine {
	t.Helper()
	e, err := New(m, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func submit(t testing.TB, e *Engine, r Request) *Result {
	t.Helper()
	results, err := e.Submit(r)
	if err != nil {
		t.Fatal(err)
	}
	return results[0]
}

func step(t testing.TB, e *Engine) bool {
	t.Helper()
	busy, err := e.Step()
	if err != nil {
		t.Fatal(err)
	}
	return busy
}

// ids gives the token ids that a result has and that were not read yet.
func ids(t testing.TB, r *Result) (out []int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, token := range r.tokens {
		out = append(out, token.ID)
	}
	r.tokens = nil
	return out
}

func randomPrompt(r *rand.Rand, n int) []int {
	tokens := []int{1}
	for range n - 1 {
		tokens = append(tokens, r.IntN(49))
	}
	return tokens
}

// alone is what a request gives by package generate, without an engine.
func alone(t testing.TB, m *model.Model, r Request) (out []int) {
	t.Helper()
	cache, err := kvcache.NewSequences(m.Device(), m.Config, 1, len(r.Prompt)+r.MaxTokens)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	o := generate.Options{SamplingParams: r.Sampling, MaxTokens: r.MaxTokens, IgnoreEOS: true}
	if err := generate.Run(context.Background(), m, cache, [][]int{r.Prompt}, o, func(_, tokens []int) []int {
		out = append(out, tokens[0])
		if !r.IgnoreEOS && slices.Contains(m.Config.EOS, tokens[0]) {
			return []int{0}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// arrival is a request of a random test.
type arrival struct {
	request  Request
	step     int // at which it arrives
	cancel   int // tokens after which it is canceled, 0 = never
	want     []int
	got      []int
	result   *Result
	canceled int // the step of the cancellation
}

func randomArrivals(t testing.TB, m *model.Model, r *rand.Rand, n, longest int, params []device.SamplingParams) (all []*arrival) {
	for i := range n {
		a := &arrival{step: r.IntN(3 * n), request: Request{
			Prompt:    randomPrompt(r, []int{1, 2, 7, 16, 33, longest}[r.IntN(6)]),
			MaxTokens: 1 + r.IntN(12), IgnoreEOS: r.IntN(2) == 0, Sampling: params[i%len(params)],
		}}
		a.request.Logprobs = r.IntN(4) == 0
		a.request.PromptLogprobs = r.IntN(4) == 0
		if r.IntN(4) == 0 {
			a.cancel = 1 + r.IntN(4)
		}
		a.want = alone(t, m, a.request)
		all = append(all, a)
	}
	return all
}

// runArrivals steps the engine until all requests have ended, and compares each with what it
// gives alone.
func runArrivals(t testing.TB, e *Engine, all []*arrival) {
	t.Helper()
	for at, done := 0, 0; done < len(all); at++ {
		if at > 10000 {
			t.Fatal("the requests do not end")
		}
		for _, a := range all {
			if a.step == at {
				a.result = submit(t, e, a.request)
			}
		}
		step(t, e)
		done = 0
		for i, a := range all {
			if a.result == nil {
				continue
			}
			a.got = append(a.got, ids(t, a.result)...)
			if a.cancel > 0 && len(a.got) >= a.cancel && a.result.Finish() == "" {
				if a.canceled > 0 {
					t.Fatalf("request %d still runs a step after its cancellation", i)
				}
				e.Cancel(a.result)
				a.canceled = at
			}
			if a.result.Finish() != "" {
				done++
			}
		}
	}
	for i, a := range all {
		want := a.want
		if a.result.Finish() == FinishCanceled {
			want = want[:min(len(want), len(a.got))]
		}
		if !slices.Equal(a.got, want) || a.canceled == 0 && a.result.Finish() == FinishCanceled {
			t.Errorf("request %d, a prompt of %d, %+v, %s: want %v, got %v, %v", i, len(a.request.Prompt), a.request.Sampling, a.result.Finish(), want, a.got, a.result.err)
		}
	}
	if s := e.Stats(); s.Running != 0 || s.Waiting != 0 || s.PagesUsed != 0 {
		t.Errorf("at the end: %+v", s)
	}
}

// Requests that arrive and are canceled at random have the tokens that each has alone, in any
// batch, also where memory for only a few of them is there.
func TestRandomArrivals(t *testing.T) {
	m := heterogeneousModel(t)
	params := []device.SamplingParams{{}, {RepetitionPenalty: 1.3, Seed: 1}, {Temperature: 1, Seed: 2}, {Temperature: 1.2, TopK: 9, Seed: 3}, {Temperature: 1.5, TopP: 0.8, MinP: 0.01, Seed: 4}}
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 7))
		all := randomArrivals(t, m, r, 40, 600, params)
		o := Options{MaxBatch: 1 + r.IntN(8), QueueLimit: 100}
		if seed%2 == 1 {
			probe := newEngine(t, m, o)
			o.CacheBytes = 4 * probe.cache.PageBytes()
		}
		runArrivals(t, newEngine(t, m, o), all)
	}
}

// Where a prompt is cut depends on nothing but the engine's options, so that a request has
// the same bits in a full batch and alone, with any size of chunks.
func TestChunkedPromptsAreTheSameInABatch(t *testing.T) {
	m := heterogeneousModel(t)
	r := rand.New(rand.NewPCG(5, 6))
	var requests []Request
	for range 12 {
		requests = append(requests, Request{Prompt: randomPrompt(r, 1+r.IntN(90)), MaxTokens: 6, IgnoreEOS: true, Logprobs: true, PromptLogprobs: true, TopLogprobs: 3})
	}
	for _, chunk := range []int{1, 5, 16} {
		logprobs := func(e *Engine, requests ...Request) (out [][]Token) {
			var results []*Result
			for _, r := range requests {
				results = append(results, submit(t, e, r))
			}
			for step(t, e) {
			}
			for _, r := range results {
				out = append(out, append(slices.Clone(r.Prompt()), r.tokens...))
			}
			return out
		}
		together := logprobs(newEngine(t, m, Options{MaxBatch: 5, StepTokens: chunk}), requests...)
		one := newEngine(t, m, Options{MaxBatch: 1, StepTokens: chunk})
		for i, r := range requests {
			want := logprobs(one, r)[0]
			if len(want) != len(r.Prompt)+6 {
				t.Fatalf("want %d tokens, got %d", len(r.Prompt)+6, len(want))
			}
			for j, w := range want {
				if g := together[i][j]; g.ID != w.ID || math.Float64bits(g.Logprob) != math.Float64bits(w.Logprob) || !slices.Equal(g.Top, w.Top) {
					t.Fatalf("chunks of %d: request %d, token %d: want %+v, got %+v", chunk, i, j, w, g)
				}
			}
		}
	}
}

// Logarithms of probabilities are those of the model's log-likelihoods, and the tokens with
// the largest ones lead the list.
func TestLogprobs(t *testing.T) {
	m := heterogeneousModel(t)
	e := newEngine(t, m, Options{MaxBatch: 2, StepTokens: 16})
	prompt := randomPrompt(rand.New(rand.NewPCG(1, 1)), 40)
	result := submit(t, e, Request{Prompt: prompt, MaxTokens: 1, Logprobs: true, PromptLogprobs: true, TopLogprobs: 3, IgnoreEOS: true})
	for step(t, e) {
	}
	got := append(slices.Clone(result.Prompt()), result.tokens...)
	tokens := append(slices.Clone(prompt), result.tokens[0].ID)
	cache, err := kvcache.NewSequences(m.Device(), m.Config, 1, len(tokens))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Tokens: tokens}}}); err != nil {
		t.Fatal(err)
	}
	rows := make([]int, len(prompt))
	for i := range rows {
		rows[i] = i
	}
	nll, err := m.NLL(rows, tokens[1:])
	if err != nil {
		t.Fatal(err)
	}
	argmax, err := m.Argmax(rows)
	if err != nil {
		t.Fatal(err)
	}
	if got[0].ID != prompt[0] || got[0].Top != nil || len(got) != len(tokens) {
		t.Fatalf("the first token: %+v, of %d", got[0], len(got))
	}
	for i, x := range nll {
		g := got[i+1]
		if g.ID != tokens[i+1] || math.Abs(g.Logprob+x) > 1e-4 {
			t.Errorf("token %d: want %d with %v, got %+v", i+1, tokens[i+1], -x, g)
		}
		if len(g.Top) != 3 || g.Top[0].ID != argmax[i] || g.Top[1].Logprob > g.Top[0].Logprob || g.Top[2].Logprob > g.Top[1].Logprob {
			t.Errorf("token %d: want %d first, got %+v", i+1, argmax[i], g.Top)
		}
		if g.ID == argmax[i] && g.Logprob != g.Top[0].Logprob {
			t.Errorf("token %d: the same token has %v and %v", i+1, g.Logprob, g.Top[0].Logprob)
		}
	}
}

// A canceled request gives its pages back before the next step, whether it waits, computes its
// prompt or decodes; the others go on undisturbed.
func TestCancelFreesWithinAStep(t *testing.T) {
	m := heterogeneousModel(t)
	e := newEngine(t, m, Options{MaxBatch: 2, StepTokens: 8})
	r := rand.New(rand.NewPCG(3, 3))
	neighbour := Request{Prompt: randomPrompt(r, 5), MaxTokens: 60, IgnoreEOS: true}
	long := Request{Prompt: randomPrompt(r, 300), MaxTokens: 10, IgnoreEOS: true}
	n := submit(t, e, neighbour)
	prefills, waits := submit(t, e, long), submit(t, e, long)
	step(t, e)
	step(t, e)
	if s := e.Stats(); s.Running != 2 || s.Waiting != 1 || s.PagesUsed < 3 {
		t.Fatalf("want 2 that run and 1 that waits, got %+v", s)
	}
	e.Cancel(waits)
	step(t, e)
	if s := e.Stats(); s.Running != 2 || s.Waiting != 0 || waits.Finish() != FinishCanceled {
		t.Errorf("after the cancellation of the one that waits: %+v, %q", s, waits.Finish())
	}
	e.Cancel(prefills)
	step(t, e)
	if s := e.Stats(); s.Running != 1 || s.PagesUsed != 1 || prefills.Finish() != FinishCanceled {
		t.Errorf("after the cancellation of the one in prefill: %+v, %q", s, prefills.Finish())
	}
	for step(t, e) {
	}
	if got, want := ids(t, n), alone(t, m, neighbour); !slices.Equal(got, want) {
		t.Errorf("the neighbour: want %v, got %v", want, got)
	}
	if s := e.Stats(); s.Running != 0 || s.PagesUsed != 0 {
		t.Errorf("at the end: %+v", s)
	}
}

func TestSubmitRefuses(t *testing.T) {
	m := heterogeneousModel(t)
	e := newEngine(t, m, Options{MaxBatch: 1, MaxContext: 600, QueueLimit: 3})
	small := newEngine(t, m, Options{MaxBatch: 2, CacheBytes: e.cache.PageBytes()})
	for what, c := range map[string]struct {
		e    *Engine
		r    Request
		want error
	}{
		"no prompt":                   {e, Request{MaxTokens: 1}, nil},
		"a token of another model":    {e, Request{Prompt: []int{50}}, model.ErrVocabulary},
		"a negative token":            {e, Request{Prompt: []int{-1}}, model.ErrVocabulary},
		"a prompt beyond the context": {e, Request{Prompt: make([]int, 601)}, model.ErrContext},
		"too many tokens":             {e, Request{Prompt: []int{1}, MaxTokens: 601}, model.ErrContext},
		"the most tokens of an int":   {e, Request{Prompt: []int{1}, MaxTokens: math.MaxInt}, model.ErrContext},
		"a negative number of tokens": {e, Request{Prompt: []int{1}, MaxTokens: -1}, nil},
		"a temperature below 0":       {e, Request{Prompt: []int{1}, Sampling: device.SamplingParams{Temperature: -1}}, nil},
		"more pages than there are":   {small, Request{Prompt: make([]int, 600), MaxTokens: 1}, ErrMemory},
	} {
		if _, err := c.e.Submit(c.r); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: want an error %v, got %v", what, c.want, err)
		}
	}
	r := Request{Prompt: []int{1}, MaxTokens: 1}
	if _, err := e.Submit(r, r); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Submit(r, r); !errors.Is(err, ErrQueueFull) {
		t.Errorf("want %v, got %v", ErrQueueFull, err)
	}
	if s := e.Stats(); s.Waiting != 2 {
		t.Errorf("of a group that does not fit none is queued: want 2, got %d", s.Waiting)
	}
	e.Stop()
	if _, err := e.Submit(r); !errors.Is(err, ErrClosed) {
		t.Errorf("want %v, got %v", ErrClosed, err)
	}
	if err := e.Run(t.Context()); err != nil {
		t.Errorf("want a run that ends when the queue is empty, got %v", err)
	}
}

// someSteps lets an engine make one step for each value in the channel.
type someSteps chan struct{}

func (s someSteps) Lock()   { <-s }
func (s someSteps) Unlock() {}

// The end of its context ends Run and cancels what runs.
func TestRunIsCanceled(t *testing.T) {
	e := newEngine(t, heterogeneousModel(t), Options{MaxBatch: 1})
	steps := make(someSteps, 5)
	for range cap(steps) {
		steps <- struct{}{}
	}
	e.ShareDevice(steps)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- e.Run(ctx) }()
	long := submit(t, e, Request{Prompt: []int{1}, MaxTokens: 690, IgnoreEOS: true})
	if _, _, err := long.Next(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	close(steps)
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("want %v, got %v", context.Canceled, err)
	}
	if s := e.Stats(); long.Finish() != FinishCanceled || s.Running != 0 || s.PagesUsed != 0 {
		t.Errorf("after the end: %q, %+v", long.Finish(), s)
	}
}

// Run serves requests of several goroutines.
func TestRun(t *testing.T) {
	m := heterogeneousModel(t)
	want := alone(t, m, Request{Prompt: []int{1, 2}, MaxTokens: 20, IgnoreEOS: true})
	e := newEngine(t, m, Options{MaxBatch: 3})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- e.Run(ctx) }()
	got := make(chan []int)
	for range 8 {
		go func() {
			var all []int
			defer func() { got <- all }()
			results, err := e.Submit(Request{Prompt: []int{1, 2}, MaxTokens: 20, IgnoreEOS: true})
			if err != nil {
				t.Error(err)
				return
			}
			for done := false; !done; {
				var tokens []Token
				if tokens, done, err = results[0].Next(ctx); err != nil {
					t.Error(err)
					return
				}
				for _, token := range tokens {
					all = append(all, token.ID)
				}
			}
		}()
	}
	for range 8 {
		if tokens := <-got; !slices.Equal(tokens, want) {
			t.Errorf("want %v, got %v", want, tokens)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("want %v, got %v", context.Canceled, err)
	}
	if s := e.Stats(); s.Running != 0 || s.PagesUsed != 0 {
		t.Errorf("after the end: %+v", s)
	}
}
