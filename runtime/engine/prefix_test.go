package engine

import (
	"math/rand/v2"
	"slices"
	"testing"

	"mop/runtime/device"
)

// prefixEngine keeps prefixes in units of 256 tokens, the page of the device.
func prefixEngine(t *testing.T, o Options) *Engine {
	t.Helper()
	o.StepTokens = 64
	e := newEngine(t, heterogeneousModel(t), o)
	if e.prefixes.unit != 256 {
		t.Fatalf("want units of 256 tokens, got %d", e.prefixes.unit)
	}
	return e
}

// sharedPrompts begin with the same 512, or 300, tokens of a text, and differ behind them.
func sharedPrompts(r *rand.Rand) (prompts [][]int) {
	text := randomPrompt(r, 512)
	for _, n := range []int{512, 512, 300, 512, 100} {
		prompts = append(prompts, append(slices.Clone(text[:n]), randomPrompt(r, 60)[1:]...))
	}
	return append(prompts, text) // nothing behind them
}

// Requests that share pages of their prompts have the tokens that they have alone, with and
// without a temperature and a draft, one behind the other and together; what was found is
// counted; without a key, or with another one, nothing is shared.
func TestPrefixes(t *testing.T) {
	for _, withDraft := range []bool{false, true} {
		random := rand.New(rand.NewPCG(8, 8))
		m := heterogeneousModel(t)
		o := Options{MaxBatch: 3, Prefixes: 4, StepTokens: 64}
		if withDraft {
			o.Draft = &Draft{draftOf(t, m, false), 2}
		}
		e := newEngine(t, m, o)
		var requests []Request
		for i, p := range sharedPrompts(random) {
			r := Request{Prompt: p, MaxTokens: 10, IgnoreEOS: true, PrefixKey: "a"}
			if !withDraft && i%2 == 1 {
				r.Sampling = device.SamplingParams{Temperature: 1, Seed: uint64(i)}
			}
			requests = append(requests, r)
		}
		check := func(r Request, result *Result) {
			t.Helper()
			if want, got := alone(t, m, r), ids(t, result); !slices.Equal(got, want) {
				t.Errorf("draft %t, a prompt of %d: want %v, got %v", withDraft, len(r.Prompt), want, got)
			}
		}
		for i, want := range []int64{0, 512, 512 + 256, 2*512 + 256, 2*512 + 256, 2*512 + 2*256} {
			result := submit(t, e, requests[i])
			for step(t, e) {
			}
			check(requests[i], result)
			if s := e.Stats(); s.PrefixHits != want || s.PagesUsed != 0 {
				t.Errorf("request %d: want %d tokens found, got %+v", i, want, s)
			}
		}
		before := e.Stats().PrefixHits
		other := requests[0]
		for _, key := range []string{"", "b"} {
			other.PrefixKey = key
			result := submit(t, e, other)
			for step(t, e) {
			}
			check(other, result)
		}
		if s := e.Stats(); s.PrefixHits != before {
			t.Errorf("another key: want nothing found, got %+v", s)
		}
		var results []*Result
		for _, r := range requests {
			results = append(results, submit(t, e, r))
		}
		for step(t, e) {
		}
		for i, r := range requests {
			check(r, results[i])
		}
	}
}

// What is kept gives way to requests that need its pages, and to other prefixes; pages that
// requests share are counted once, and none is lost.
func TestPrefixesGiveWay(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	probe := prefixEngine(t, Options{MaxBatch: 1, Prefixes: 1})
	e := prefixEngine(t, Options{MaxBatch: 4, Prefixes: 2, CacheBytes: 5 * probe.cache.PageBytes()})
	run := func(requests ...Request) {
		t.Helper()
		var results []*Result
		for _, r := range requests {
			results = append(results, submit(t, e, r))
		}
		for step(t, e) {
			if used, free := e.cache.Pages(); used < 0 || free < 0 || used+free != 5 {
				t.Fatalf("got %d used and %d free pages", used, free)
			}
		}
		for i, r := range requests {
			if want, got := alone(t, e.m, r), ids(t, results[i]); !slices.Equal(got, want) {
				t.Errorf("a prompt of %d: want %v, got %v", len(r.Prompt), want, got)
			}
		}
	}
	for range 6 {
		text := randomPrompt(random, 300)
		var together []Request
		for i := range 4 { // 2 pages each, of which 1 is shared: 5 pages
			together = append(together, Request{Prompt: append(slices.Clone(text), i), MaxTokens: 5, IgnoreEOS: true, PrefixKey: "a"})
		}
		run(together[0])
		before := e.Stats().PrefixHits
		run(together...)
		if hits := e.Stats().PrefixHits - before; hits != 4*256 {
			t.Errorf("want a page found for each of 4 requests, got %d tokens", hits)
		}
		run(Request{Prompt: randomPrompt(random, 650), MaxTokens: 40, IgnoreEOS: true, PrefixKey: "a"})
		if len(e.prefixes.kept) > 2 {
			t.Errorf("want at most 2 prefixes, got %d", len(e.prefixes.kept))
		}
	}
	for e.prefixes.evict() {
	}
	if used, _ := e.cache.Pages(); used != 0 || len(e.prefixes.byKey) != 0 {
		t.Errorf("nothing is kept: got %d pages and %d keys", used, len(e.prefixes.byKey))
	}
}

// A request that waits for pages of the draft's cache, which keeps no prefixes, evicts none.
func TestPrefixesStayWhenTheDraftIsFull(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	m := heterogeneousModel(t)
	draft := &Draft{draftOf(t, m, false), 2}
	probe := newEngine(t, m, Options{MaxBatch: 1, Draft: draft})
	pageBytes := probe.cache.PageBytes() + probe.draft.cache.PageBytes()
	e := newEngine(t, m, Options{MaxBatch: 4, Prefixes: 2, StepTokens: 64, CacheBytes: 6 * pageBytes, Draft: draft})
	r := Request{Prompt: randomPrompt(random, 300), MaxTokens: 5, IgnoreEOS: true, PrefixKey: "a"} // 2 pages, of which 1 is kept
	submit(t, e, r)
	for step(t, e) {
	}
	if len(e.prefixes.kept) != 1 {
		t.Fatalf("want a prefix, got %d", len(e.prefixes.kept))
	}
	kept := e.prefixes.kept[0]
	for range 4 {
		submit(t, e, r)
	}
	step(t, e)
	if n := len(e.running); n != 3 {
		t.Fatalf("want 3 requests in 6 pages of the draft, got %d", n)
	}
	if len(e.prefixes.kept) != 1 || e.prefixes.kept[0] != kept {
		t.Error("want the prefix kept")
	}
}
