package metric_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"mop/runtime/metric"
	"mop/runtime/model"
)

// A continuation's log-probabilities are those of the softmax of the logits in
// front of its tokens, and it is greedy where each token has the largest logit.
func TestLogLikelihoodsByFormula(t *testing.T) {
	m := load(t, host(t), small(3))
	context := []int{1, 5, 9}
	argmax := func(z []float64) int { return slices.Index(z, slices.Max(z)) }
	greedy := slices.Clone(context)
	for range 3 {
		rows := logits(t, m, greedy)
		greedy = append(greedy, argmax(logSoftmax(rows[len(rows)-1])))
	}
	other := slices.Clone(greedy[3:])
	other[2] = (other[2] + 1) % m.Config.VocabSize
	requests := []metric.Continuation{{Context: context, Tokens: greedy[3:]}, {Context: context, Tokens: other}, {Context: greedy, Tokens: nil}, {Context: []int{1}, Tokens: []int{2}}}
	answered := 0
	if err := metric.LogLikelihoods(t.Context(), m, requests, func(i int, l metric.LogLikelihood) error {
		r := requests[i]
		if i != answered || len(l.Tokens) != len(r.Tokens) {
			t.Fatalf("request %d: want answer %d with %d tokens, got %d", i, answered, len(r.Tokens), len(l.Tokens))
		}
		answered++
		z := logits(t, load(t, host(t), small(3)), append(slices.Clone(r.Context), r.Tokens...))
		sum, wantGreedy := 0.0, true
		for j, token := range r.Tokens {
			p := logSoftmax(z[len(r.Context)-1+j])
			if math.Abs(l.Tokens[j]-p[token]) > 1e-5 {
				t.Errorf("request %d: token %d: want %v, got %v", i, j, p[token], l.Tokens[j])
			}
			sum += l.Tokens[j]
			wantGreedy = wantGreedy && argmax(p) == token
		}
		if l.Sum() != sum || l.Greedy != wantGreedy {
			t.Errorf("request %d: want sum %v, greedy %v; got %v, %v", i, sum, wantGreedy, l.Sum(), l.Greedy)
		}
		if i < 2 && l.Greedy != (i == 0) {
			t.Errorf("request %d: greedy is %v", i, l.Greedy)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if answered != len(requests) {
		t.Errorf("want %d answers, got %d", len(requests), answered)
	}
}

func TestLogLikelihoodsRefuse(t *testing.T) {
	m := load(t, host(t), small(3))
	never := func(int, metric.LogLikelihood) error { t.Error("an answer to a bad request"); return nil }
	for _, c := range []struct {
		name    string
		request metric.Continuation
		want    error
	}{
		{"no context", metric.Continuation{Tokens: []int{1}}, nil},
		{"longer than the model's context", metric.Continuation{Context: []int{1}, Tokens: make([]int, m.Config.MaxPositions)}, model.ErrContext},
		{"token outside the vocabulary", metric.Continuation{Context: []int{1}, Tokens: []int{m.Config.VocabSize}}, model.ErrVocabulary},
	} {
		if err := metric.LogLikelihoods(t.Context(), m, []metric.Continuation{c.request}, never); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: want the error %v, got %v", c.name, c.want, err)
		}
	}
}
