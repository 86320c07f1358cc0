package metric_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mop/runtime/metric"
)

// Shared prefixes, batches and rounds change no bit: the sums are those of every
// continuation by itself.
func TestChoicesEqualSingleContinuations(t *testing.T) {
	m := load(t, host(t), small(3))
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []int {
		out := make([]int, n)
		for i := range out {
			out[i] = rng.IntN(m.Config.VocabSize)
		}
		return out
	}
	var questions [][]metric.Continuation
	var single []metric.Continuation
	for i := range 300 {
		context := random(1 + rng.IntN(12))
		var q []metric.Continuation
		for range rng.IntN(5) {
			c := metric.Continuation{Context: context, Tokens: random(1 + rng.IntN(6))}
			switch rng.IntN(4) {
			case 0: // another context of the same beginning, as in winogrande
				c.Context = append(slices.Clone(context), random(2)...)
			case 1: // a continuation that begins as another one
				if len(q) > 0 {
					c.Tokens = append(slices.Clone(q[0].Tokens), c.Tokens...)
				}
			case 2: // contexts that have nothing in common
				c.Context = random(3)
			}
			q = append(q, c)
		}
		if i%50 == 7 && len(q) > 0 {
			q = append(q, q[0])
		}
		questions, single = append(questions, q), append(single, q...)
	}
	var want []float64
	if err := metric.LogLikelihoods(t.Context(), m, single, func(_ int, l metric.LogLikelihood) error {
		want = append(want, l.Sum())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var got []float64
	next := 0
	if err := metric.Choices(t.Context(), m, questions, func(i int, sums []float64) error {
		if i != next || len(sums) != len(questions[i]) {
			t.Fatalf("want question %d, got %d with %d sums", next, i, len(sums))
		}
		next++
		got = append(got, sums...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if next != len(questions) || !slices.Equal(got, want) {
		t.Errorf("want the same bits for all %d continuations", len(want))
	}
	err := metric.Choices(t.Context(), m, [][]metric.Continuation{{{Context: []int{1}}}}, nil)
	if err == nil || !strings.Contains(err.Error(), "question 0: continuation 0: want at least one token") {
		t.Errorf("got %v", err)
	}
}
