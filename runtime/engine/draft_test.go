package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/generate"
	"mop/runtime/model"
)

// draftOf is a model with the first two layers of heterogeneousModel, on its device; same
// says whether it is instead the same model once more.
func draftOf(t testing.TB, m *model.Model, same bool) *model.Model {
	t.Helper()
	c := *m.Config
	if !same {
		c.Layers = slices.Clone(c.Layers[:2])
	}
	d, err := model.Load(m.Device(), checkpoint.Random(&c, 3, checkpoint.F32))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// With any draft and any number of proposals, greedy requests that arrive and leave at random
// have the tokens that they have alone, also with a penalty, probabilities or rules; afterwards
// both caches are empty.
func TestDraftIsGreedy(t *testing.T) {
	for _, kv := range []checkpoint.DType{checkpoint.F32, checkpoint.F16} {
		t.Run(kv.String(), func(t *testing.T) { testDraftIsGreedy(t, heterogeneousModelWithCache(t, kv)) })
	}
}

func testDraftIsGreedy(t *testing.T, m *model.Model) {
	t.Helper()
	for _, same := range []bool{false, true} {
		draft := draftOf(t, m, same)
		for _, n := range []int{0, 1, 3, generate.MaxDraft} {
			t.Run(fmt.Sprintf("same model %t, %d proposals", same, n), func(t *testing.T) {
				e := newEngine(t, m, Options{MaxBatch: 4, MaxContext: 400, StepTokens: 64, Draft: &Draft{draft, n}})
				random := rand.New(rand.NewPCG(uint64(n), 5))
				all := randomArrivals(t, m, random, 16, 90, []device.SamplingParams{{}, {RepetitionPenalty: 1.3}})
				for i, a := range all {
					a.request.Logprobs = i%3 == 0
				}
				runArrivals(t, e, all)
				s := e.Stats()
				if used, _ := e.draft.cache.Pages(); used != 0 || s.PagesUsed != 0 {
					t.Errorf("want empty caches, got %d pages of the draft and %+v", used, s)
				}
				if n > 0 && (s.Drafted == 0 || s.Accepted > s.Checked || s.Checked > s.Drafted) {
					t.Errorf("want proposals, got %+v", s)
				}
				if n > 0 && same && s.Accepted != s.Checked {
					t.Errorf("the model itself as a draft: want all of %d proposals accepted, got %d", s.Checked, s.Accepted)
				}
			})
		}
	}
}

// With a temperature and a fixed number of proposals, a seed gives the same tokens beside others
// as alone, and a draft with the model's own distribution is always right.
func TestDraftSamples(t *testing.T) {
	m := heterogeneousModel(t)
	random := rand.New(rand.NewPCG(1, 9))
	var requests []Request
	for i := range 6 {
		requests = append(requests, Request{Prompt: randomPrompt(random, 3+11*i), MaxTokens: 20, IgnoreEOS: true, Sampling: device.SamplingParams{Temperature: 0.9, TopP: 0.95, Seed: uint64(i)}})
	}
	for _, same := range []bool{false, true} {
		draft := draftOf(t, m, same)
		run := func(requests []Request) (out [][]int, s Stats) {
			e := newEngine(t, m, Options{MaxBatch: 4, Draft: &Draft{draft, 3}})
			var results []*Result
			for _, r := range requests {
				results = append(results, submit(t, e, r))
			}
			for step(t, e) {
			}
			for _, r := range results {
				out = append(out, ids(t, r))
			}
			return out, e.Stats()
		}
		together, s := run(requests)
		for i, r := range requests {
			if alone, _ := run([]Request{r}); !slices.Equal(alone[0], together[i]) || len(alone[0]) != 20 {
				t.Errorf("request %d: alone %v, beside others %v", i, alone[0], together[i])
			}
		}
		if same && (s.Accepted != s.Checked || s.Checked == 0) {
			t.Errorf("want all of %d proposals accepted, got %d", s.Checked, s.Accepted)
		}
	}
}

// Requests with rules or images run without proposals beside those that have some.
func TestDraftLeavesOut(t *testing.T) {
	m := heterogeneousModel(t)
	random := rand.New(rand.NewPCG(4, 4))
	image, given := randomImage(random, 4, 6, m.Config.HiddenSize)
	biased := Request{Prompt: randomPrompt(random, 30), MaxTokens: 15, IgnoreEOS: true, Rules: generate.LogitRules{Presence: 1}}
	seen := Request{Prompt: randomPrompt(random, 30), MaxTokens: 15, IgnoreEOS: true, Images: []Image{image}}
	plain := Request{Prompt: randomPrompt(random, 30), MaxTokens: 15, IgnoreEOS: true}
	by := func(o Options) (out [][]int) {
		e := newEngine(t, m, o)
		var results []*Result
		for _, r := range []Request{biased, seen, plain} {
			results = append(results, submit(t, e, r))
		}
		for step(t, e) {
		}
		for _, r := range results {
			out = append(out, ids(t, r))
		}
		return out
	}
	want := by(Options{MaxBatch: 3})
	got := by(Options{MaxBatch: 3, Draft: &Draft{draftOf(t, m, false), 3}})
	for i := range want {
		if !slices.Equal(want[i], got[i]) {
			t.Errorf("request %d: want %v, got %v", i, want[i], got[i])
		}
	}
	if w := withEmbeddings(t, m, seen, []model.Embeddings{given}); !slices.Equal(w, got[1]) {
		t.Errorf("with an image: want %v, got %v", w, got[1])
	}
}

// A limit of memory gives both caches the same number of pages; drafts that do not fit the
// model are refused.
func TestDraftCaches(t *testing.T) {
	m := heterogeneousModel(t)
	draft := draftOf(t, m, false)
	e := newEngine(t, m, Options{MaxBatch: 2, Draft: &Draft{Model: draft}})
	a, b := e.cache.PageBytes(), e.draft.cache.PageBytes()
	e = newEngine(t, m, Options{MaxBatch: 2, CacheBytes: 3*(a+b) + a, Draft: &Draft{Model: draft}})
	_, pages := e.cache.Pages()
	if _, other := e.draft.cache.Pages(); pages != 3 || other != 3 {
		t.Errorf("want 3 pages each, got %d and %d", pages, other)
	}
	if _, err := New(m, Options{MaxBatch: 1, CacheBytes: a, Draft: &Draft{Model: draft}}); !errors.Is(err, device.ErrMemory) {
		t.Errorf("less than a page each: got %v", err)
	}
	for what, change := range map[string]func(c *config.Config){
		"vocabulary": func(c *config.Config) { c.VocabSize++ },
		"context":    func(c *config.Config) { c.MaxPositions-- },
	} {
		c := *draft.Config
		change(&c)
		other, err := model.Load(m.Device(), checkpoint.Random(&c, 3, checkpoint.F32))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(m, Options{MaxBatch: 1, Draft: &Draft{Model: other}}); err == nil {
			t.Errorf("another %s: want an error", what)
		}
	}
	if _, err := New(m, Options{MaxBatch: 1, Draft: &Draft{draft, generate.MaxDraft + 1}}); err == nil {
		t.Error("too many proposals: want an error")
	}
	if _, err := New(m, Options{MaxBatch: 1, Draft: &Draft{Model: draftOf(t, heterogeneousModel(t), false)}}); err == nil {
		t.Error("a draft on another device: want an error")
	}
}

// The number of proposals follows from acceptance and times.
func TestDraftChoice(t *testing.T) {
	flat := passTimes{} // reading the weights takes all of the time
	steep := passTimes{}
	for rows := 1; rows <= 80; rows++ {
		flat.add(rows, 1)
		steep.add(rows, float64(rows))
	}
	cheap, dear := passTimes{1: 0.1, 4: 0.1}, passTimes{1: 1, 4: 1}
	for _, c := range []struct {
		what        string
		choice      draftChoice
		sequences   int
		least, most int
	}{
		{"a cheap draft that is right", draftChoice{model: flat, draft: cheap, rate: 0.95}, 1, 6, 8},
		{"a cheap draft that is wrong", draftChoice{model: flat, draft: cheap, rate: 0.05}, 1, 0, 0},
		{"a draft as slow as the model", draftChoice{model: flat, draft: dear, rate: 0.9}, 1, 0, 0},
		{"arithmetic takes all of the time", draftChoice{model: steep, draft: cheap, rate: 0.9}, 4, 0, 0},
		{"nothing is known yet", draftChoice{}, 1, 4, 4},
	} {
		if n := c.choice.best(c.sequences, c.sequences); n < c.least || n > c.most {
			t.Errorf("%s: want %d to %d proposals, got %d", c.what, c.least, c.most, n)
		}
	}
	if n := (&draftChoice{}).next(0, 3); n != 0 {
		t.Errorf("no drafted sequence: got %d", n)
	}
	c := draftChoice{model: flat, draft: dear, rate: 0.9}
	tried := 0
	for range 2 * probeEvery {
		tried += c.next(1, 1)
	}
	if tried != 2 {
		t.Errorf("want another number tried every %d steps, got %d proposals", probeEvery, tried)
	}
	times := passTimes{4: 8, 8: 10}
	for rows, want := range map[int]float64{4: 8, 2: 4, 6: 9, 16: 10} {
		if got := times.at(rows); got != want {
			t.Errorf("%d rows: want %v, got %v", rows, want, got)
		}
	}
}

// A model without heads needs no pages of a cache, neither as the draft nor by itself.
func TestModelsWithoutHeads(t *testing.T) {
	m := heterogeneousModel(t)
	c := *m.Config
	c.Layers = []config.LayerShape{{HeadDim: 4, Intermediate: 5}}
	headless, err := model.Load(m.Device(), checkpoint.Random(&c, 3, checkpoint.F32))
	if err != nil {
		t.Fatal(err)
	}
	for what, x := range map[string]struct {
		m *model.Model
		o Options
	}{
		"draft":                {m, Options{MaxBatch: 2, Draft: &Draft{headless, 2}}},
		"draft and prefixes":   {m, Options{MaxBatch: 2, Prefixes: 2, Draft: &Draft{headless, 2}}},
		"draft and a limit":    {m, Options{MaxBatch: 2, CacheBytes: 1 << 20, Draft: &Draft{headless, 2}}},
		"model":                {headless, Options{MaxBatch: 2}},
		"model and prefixes":   {headless, Options{MaxBatch: 2, Prefixes: 2}},
		"model and full draft": {headless, Options{MaxBatch: 2, Draft: &Draft{m, 2}}},
		"a page of the draft":  {headless, Options{MaxBatch: 2, CacheBytes: 40000, Draft: &Draft{m, 2}}},
	} {
		e := newEngine(t, x.m, x.o)
		r := Request{Prompt: []int{1, 2, 3}, MaxTokens: 12, IgnoreEOS: true, PrefixKey: "a"}
		results := []*Result{submit(t, e, r), submit(t, e, r), submit(t, e, r)}
		for range 100 {
			step(t, e)
		}
		want := alone(t, x.m, r)
		for _, result := range results {
			if result.Finish() == "" {
				t.Errorf("%s: a request waits for ever", what)
			} else if got := ids(t, result); !slices.Equal(got, want) {
				t.Errorf("%s: want %v, got %v", what, want, got)
			}
		}
		if what == "a page of the draft" {
			r.MaxTokens = 600
			if _, err := e.Submit(r); !errors.Is(err, ErrMemory) {
				t.Errorf("%s: want %v, got %v", what, ErrMemory, err)
			}
		}
	}
}
