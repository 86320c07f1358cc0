package engine

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

func TestAdmit(t *testing.T) {
	for _, c := range []struct {
		waiting []int
		slots   int
		pages   int
		want    int
	}{
		{nil, 4, 10, 0},
		{[]int{1, 2, 3}, 4, 10, 3},
		{[]int{1, 2, 3}, 2, 10, 2},
		{[]int{1, 2, 3}, 4, 5, 2},
		{[]int{9, 1, 1}, 4, 8, 0}, // the oldest holds back those behind it
		{[]int{0, 0}, 4, 0, 2},    // a model without attention
		{[]int{1}, 0, 8, 0},
	} {
		if got := admit(c.waiting, budget{slots: c.slots, pages: c.pages}); got != c.want {
			t.Errorf("admit(%v, %d slots, %d pages): want %d, got %d", c.waiting, c.slots, c.pages, c.want, got)
		}
	}
}

func TestPrefillChunks(t *testing.T) {
	decoding := progress{3, 3, false}
	for _, c := range []struct {
		what    string
		running []progress
		tokens  int
		want    []chunk
	}{
		{"only decoding", []progress{decoding, decoding}, 16, nil},
		{"two prompts share a step", []progress{{5, 0, false}, decoding, {4, 0, false}}, 16, []chunk{{0, 5}, {2, 4}}},
		{"a long prompt is cut", []progress{{20, 0, false}}, 16, []chunk{{0, 8}}},
		{"and continued", []progress{{20, 16, false}, {9, 0, false}}, 16, []chunk{{0, 4}, {1, 8}}},
		{"the rest has no room", []progress{{20, 8, false}, {9, 0, false}}, 15, []chunk{{0, 8}}},
		{"decoding sequences do not keep a prompt waiting", []progress{{7, 0, false}, decoding, decoding, decoding}, 2, []chunk{{0, 7}}},
		{"a shared prefix ends within a chunk", []progress{{20, 3, false}}, 16, []chunk{{0, 5}}},
	} {
		if got := prefillChunks(c.running, budget{tokens: c.tokens, chunk: 8}); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: want %v, got %v", c.what, c.want, got)
		}
	}
}

// Whatever arrives, every prompt is computed, in the order of arrival, cut at the same
// positions, and a step exceeds its budget by one chunk at most.
func TestSchedulerProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		b := budget{tokens: 1 + r.IntN(40), chunk: 1 + r.IntN(16)}
		var running []progress
		for range 1 + r.IntN(8) {
			running = append(running, progress{prompt: 1 + r.IntN(50)})
		}
		for steps := 0; ; steps++ {
			if steps > 1000 {
				t.Fatalf("%+v: %v does not end", b, running)
			}
			total, decodes := 0, 0
			for _, p := range running {
				if p.decodes() {
					decodes++
				}
			}
			chunks := prefillChunks(running, b)
			next := 0
			for _, c := range chunks {
				p := &running[c.request]
				for ; next < c.request; next++ {
					if !running[next].decodes() {
						t.Fatalf("%+v: request %d before %d", b, c.request, next)
					}
				}
				next++
				if end := p.computed + c.tokens; end%b.chunk != 0 && end != p.prompt || p.computed%b.chunk != 0 || c.tokens < 1 {
					t.Fatalf("%+v: chunk %+v of %+v", b, c, *p)
				}
				total += c.tokens
				p.computed += c.tokens
			}
			if len(chunks) == 0 {
				break
			}
			if total > max(b.tokens-decodes, b.chunk) {
				t.Fatalf("%+v: a step of %d tokens beside %d that decode", b, total, decodes)
			}
		}
		for _, p := range running {
			if !p.decodes() {
				t.Fatalf("%+v: %v was not computed", b, running)
			}
		}
	}
}
