package latency

import (
	"bytes"
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"mop/internal/progress"
)

// clock is a clock that moves only when a fake model works.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

// fake is a model that takes first for its first token and gap for every other,
// each multiplied by slow(now), and writes down what it was given.
func fake(c *clock, name string, first, gap time.Duration, slow func() float64, prompts *[][][]int) Model {
	if slow == nil {
		slow = func() float64 { return 1 }
	}
	return Model{Name: name, Vocab: 64, Generate: func(_ context.Context, p [][]int, out int, step func()) error {
		if prompts != nil {
			*prompts = append(*prompts, p)
		}
		for i := range out {
			d := gap
			if i == 0 {
				d = first
			}
			c.t = c.t.Add(time.Duration(float64(d) * slow()))
			step()
		}
		c.t = c.t.Add(time.Hour) // tidying up after the last token is not timed
		return nil
	}}
}

// In turns by steps, a machine that becomes slower in the middle of a round slows all
// models alike, so that their ratio stays.
func TestMeasureInTurnsBySteps(t *testing.T) {
	c := &clock{t: time.Unix(0, 0)}
	slow := func() float64 { return 1 + float64(c.t.UnixMilli()/1000%3) } // another speed every second
	models := []Model{
		fake(c, "a", 80*time.Millisecond, 8*time.Millisecond, slow, nil),
		fake(c, "b", 40*time.Millisecond, 4*time.Millisecond, slow, nil),
	}
	p := Protocol{In: 5, Out: 400, Batch: 1, Runs: 6, Turns: TurnsSteps}
	samples, err := Measure(context.Background(), p, models, Options{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	if len(samples) != 12 {
		t.Fatalf("want 12 samples, got %d", len(samples))
	}
	starts := map[string]int{}
	for i := 0; i < len(samples); i += 2 {
		a, b := samples[i], samples[i+1]
		starts[a.Model]++
		if a.Round != i/2 || b.Round != i/2 || a.Position != 0 || b.Position != 1 || len(a.Tokens) != p.Out {
			t.Errorf("want both models of round %d, got %+v and %+v", i/2, a, b)
		}
		if a.Model == "b" {
			a, b = b, a
		}
		if ratio := float64(a.Total) / float64(b.Total); math.Abs(ratio-2) > 0.02 {
			t.Errorf("round %d: want twice the time, got %.3f", a.Round, ratio)
		}
	}
	if starts["a"] == 0 || starts["b"] == 0 {
		t.Errorf("want either model first in some round, got %v", starts)
	}
}

func TestMeasureHoldsTheProtocol(t *testing.T) {
	c := &clock{t: time.Unix(0, 0)}
	var seen [][][]int
	models := []Model{
		fake(c, "a", 50*time.Millisecond, 10*time.Millisecond, nil, &seen),
		fake(c, "b", 40*time.Millisecond, 8*time.Millisecond, nil, &seen),
		fake(c, "c", 30*time.Millisecond, 6*time.Millisecond, nil, &seen),
	}
	p := Protocol{In: 5, Out: 4, Batch: 2, Runs: 30, Discard: 7, Seed: 11}
	var reports []progress.Update
	samples, err := Measure(context.Background(), p, models, Options{
		Now:      c.now,
		Progress: func(u progress.Update) { reports = append(reports, u); c.t = c.t.Add(time.Minute) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(samples) != 90 || len(reports) != 90 || reports[89].Done != 90 || reports[89].Total != 90 {
		t.Fatalf("want 90 samples and as many reports of progress, got %d and %d", len(samples), len(reports))
	}
	orders := map[string]int{}
	for round := range p.Runs {
		order := ""
		for position := range 3 {
			s := samples[3*round+position]
			if s.Round != round || s.Position != position || s.Discarded != (round < 7) {
				t.Errorf("want round %d, place %d, got %+v", round, position, s)
			}
			order += s.Model
			first := map[string]time.Duration{"a": 50, "b": 40, "c": 30}[s.Model] * time.Millisecond
			if s.TTFT != first || s.Tokens[0] != first {
				t.Errorf("%s: want the first token after %v, got %v", s.Model, first, s.TTFT)
			}
			if want := first * 8 / 5; s.Total != want || s.Tokens[3] != want || len(s.Tokens) != 4 { // first + 3 gaps of a fifth
				t.Errorf("%s: want %v in all over 4 tokens, got %v, %v", s.Model, want, s.Total, s.Tokens)
			}
		}
		if sorted := slices.Sorted(slices.Values([]byte(order))); string(sorted) != "abc" {
			t.Errorf("round %d: want every model once, got %s", round, order)
		}
		orders[order]++
	}
	if len(orders) != 6 { // 30 shuffles of three miss one of the six orders with p < 6 (5/6)^30 = 2.5 %; the seed is fixed
		t.Errorf("want all six orders in 30 rounds, got %v", orders)
	}
	for _, x := range seen {
		if len(x) != 2 || len(x[0]) != 5 || !reflect.DeepEqual(x, seen[0]) {
			t.Fatalf("want the same 2 prompts of 5 tokens for every run, got %v and %v", seen[0], x)
		}
	}
	if samples[0].Start != 0 || samples[1].Start <= samples[0].Total {
		t.Errorf("want starts from 0 on, got %v, %v", samples[0].Start, samples[1].Start)
	}
	again, _ := Measure(context.Background(), p, models, Options{Now: c.now})
	for i := range again {
		if again[i].Model != samples[i].Model {
			t.Fatal("same seed: want the same order of runs")
		}
	}
}

// A machine that gets slower all the time, threefold in the end: since the
// models take turns, their ratio stays; one after the other it would not.
func TestDriftHitsAllAlike(t *testing.T) {
	c := &clock{t: time.Unix(0, 0)}
	runs := 0.0
	slow := func() float64 { runs++; return 1 + 2*runs/(2*200*8) }
	models := []Model{
		fake(c, "dense", 4*time.Millisecond, 4*time.Millisecond, slow, nil),
		fake(c, "half", 2*time.Millisecond, 2*time.Millisecond, slow, nil),
	}
	p := Protocol{In: 1, Out: 8, Batch: 1, Runs: 200, Discard: 0}
	samples, err := Measure(context.Background(), p, models, Options{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := Rows(p, models, samples, Environment{})
	if err != nil {
		t.Fatal(err)
	}
	var dense []float64
	for _, s := range samples {
		if s.Model == "dense" {
			dense = append(dense, s.Total.Seconds())
		}
	}
	if last := dense[len(dense)-1] / dense[0]; last < 2.9 {
		t.Fatalf("the fake machine drifted only by %v", last)
	}
	if s := rows[1].Speedup; math.Abs(s.Median-2) > 0.02 || *s.Lo > 2 || *s.Hi < 2 {
		t.Errorf("want a speed-up of 2 within 1 %%, got %v [%v, %v]", s.Median, *s.Lo, *s.Hi)
	}
}

func TestProtocolIsChecked(t *testing.T) {
	for want, change := range map[string]func(*Protocol){
		"bench: in: want at least 1, got 0":                                            func(p *Protocol) { p.In = 0 },
		"bench: out: want at least 1, got -3":                                          func(p *Protocol) { p.Out = -3 },
		"bench: batch: want at least 1, got 0":                                         func(p *Protocol) { p.Batch = 0 },
		"bench: runs: want at least 1, got 0":                                          func(p *Protocol) { p.Runs = 0 },
		"bench: discard: want 0 to 19, fewer than the 20 runs, got 20":                 func(p *Protocol) { p.Discard = 20 },
		"bench: discard: want 0 to 19, fewer than the 20 runs, got -1":                 func(p *Protocol) { p.Discard = -1 },
		"bench: want at most 16777216 tokens in and out, got (12 in, 9 out) x 2000000": func(p *Protocol) { p.Batch, p.Out = 2e6, 9 },
	} {
		p := Default()
		change(&p)
		if err := p.Validate(); err == nil || err.Error() != want {
			t.Errorf("want %q, got %v", want, err)
		}
		if _, err := Measure(context.Background(), p, []Model{{Name: "a", Vocab: 9}}, Options{}); err == nil {
			t.Errorf("%s: measured all the same", want)
		}
	}
	if p := Default(); p != (Protocol{In: 12, Out: 128, Batch: 1, Runs: 20, Discard: 10}) || p.Validate() != nil || p.Kept() != 10 {
		t.Errorf("want the paper's protocol, got %+v", p)
	}
}

func TestSubjectsAreChecked(t *testing.T) {
	step := func(n int) func(context.Context, [][]int, int, func()) error {
		return func(_ context.Context, _ [][]int, _ int, f func()) error {
			for range n {
				f()
			}
			return nil
		}
	}
	boom := errors.New("boom")
	p := Protocol{In: 12, Out: 4, Batch: 1, Runs: 1}
	for want, models := range map[string][]Model{
		"bench: no model given":                                              nil,
		"bench: a: given twice":                                              {{Name: "a", Vocab: 9}, {Name: "a", Vocab: 9}},
		"bench: a: context is 14 tokens, got 12 in and 4 out":                {{Name: "a", Vocab: 9, Context: 14}},
		"bench: prompt: vocabulary of 3 tokens has none that is not special": {{Name: "a", Vocab: 9, SpecialTokens: []int{0, 1}}, {Name: "b", Vocab: 3, SpecialTokens: []int{1, 2, 7}}},
		"bench: prompt: vocabulary of 0 tokens has none that is not special": {{Name: "a"}},
		"bench: a: round 0: want 4 tokens, got 3":                            {{Name: "a", Vocab: 9, Context: 15, Generate: step(3)}},
		"bench: a: round 0: want 4 tokens, got 5":                            {{Name: "a", Vocab: 9, Generate: step(5)}},
		"bench: a: round 0: the clock did not move between tokens":           {{Name: "a", Vocab: 9, Generate: step(4)}},
		"bench: a: round 0: boom":                                            {{Name: "a", Vocab: 9, Generate: func(context.Context, [][]int, int, func()) error { return boom }}},
	} {
		c := &clock{}
		_, err := Measure(context.Background(), p, models, Options{Now: c.now})
		if err == nil || err.Error() != want {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestPromptsAvoidSpecialTokens(t *testing.T) {
	p := Protocol{In: 500, Out: 1, Batch: 2, Runs: 1, Seed: 4}
	x, err := p.Prompts(6, []int{0, 1, 2, -1, 99})
	if err != nil {
		t.Fatal(err)
	}
	count := map[int]int{}
	for _, token := range append(slices.Clone(x[0]), x[1]...) {
		count[token]++
	}
	// 1000 draws over three tokens: 333 each, deviation 15.
	if len(count) != 3 || min(count[3], count[4], count[5]) < 260 {
		t.Errorf("want tokens 3, 4 and 5 about equally often, got %v", count)
	}
	if slices.Equal(x[0], x[1]) {
		t.Error("want prompts of their own for the sequences of a batch")
	}
	if y, _ := p.Prompts(6, []int{2, 1, 0}); !reflect.DeepEqual(x, y) {
		t.Error("same seed: want the same tokens")
	}
	p.Seed++
	if y, _ := p.Prompts(6, []int{2, 1, 0}); reflect.DeepEqual(x, y) {
		t.Error("another seed: want other tokens")
	}
}

func TestMeasureStopsWhenAsked(t *testing.T) {
	c := &clock{}
	ctx, cancel := context.WithCancel(context.Background())
	samples, err := Measure(ctx, Default(), []Model{fake(c, "a", 1, 1, nil, nil)}, Options{
		Now:      c.now,
		Progress: func(progress.Update) { cancel() },
	})
	if !errors.Is(err, context.Canceled) || len(samples) != 1 {
		t.Errorf("want one sample and context.Canceled, got %d and %v", len(samples), err)
	}
	full := errors.New("no room for its line")
	samples, err = Measure(context.Background(), Default(), []Model{fake(c, "a", 1, 1, nil, nil)}, Options{
		Now:    c.now,
		Sample: func(Sample) error { return full },
	})
	if !errors.Is(err, full) || len(samples) != 1 {
		t.Errorf("want one sample and the error of the callback, got %d and %v", len(samples), err)
	}
}

func TestSamplesAsLines(t *testing.T) {
	samples := []Sample{
		{Model: "a<b", Round: 0, Position: 1, Discarded: true, Start: 5, Total: 30, TTFT: 10, Others: 2, Steal: 1, Tokens: []time.Duration{10, 30}},
		{Model: "ü", Round: 1, Start: 40, Total: 7, TTFT: 7, Tokens: []time.Duration{7}},
	}
	var b bytes.Buffer
	if err := WriteSamples(&b, samples); err != nil {
		t.Fatal(err)
	}
	want := `{"model":"a<b","round":0,"position":1,"discarded":true,"start_ns":5,"total_ns":30,"ttft_ns":10,"others_ns":2,"steal_ns":1,"token_ns":[10,30]}
{"model":"ü","round":1,"position":0,"discarded":false,"start_ns":40,"total_ns":7,"ttft_ns":7,"others_ns":0,"steal_ns":0,"token_ns":[7]}
`
	if b.String() != want {
		t.Errorf("want\n%sgot\n%s", want, b.String())
	}
	got, err := ReadSamples(&b)
	if err != nil || !reflect.DeepEqual(got, samples) {
		t.Errorf("want the samples back, got %v, %v", got, err)
	}
	if _, err := ReadSamples(strings.NewReader(want + "{")); err == nil || !strings.HasPrefix(err.Error(), "sample 3: ") {
		t.Errorf("want an error that names sample 3, got %v", err)
	}
}
