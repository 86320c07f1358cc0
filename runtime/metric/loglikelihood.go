package metric

import (
	"context"
	"fmt"

	"mop/runtime/dataset"
	"mop/runtime/model"
)

// Continuation is a request for the probability of some tokens after others.
type Continuation struct {
	Context []int // at least one token, usually BOS first
	Tokens  []int // whose probability is asked for
}

// LogLikelihood answers a Continuation.
type LogLikelihood struct {
	Tokens []float64 // log p(token | all tokens before it), for each of the continuation's
	Greedy bool      // each token is the argmax token at its position
}

// Sum is the log-likelihood of the whole continuation, in nats.
func (l LogLikelihood) Sum() float64 {
	sum := 0.0
	for _, x := range l.Tokens {
		sum += x
	}
	return sum
}

// LogLikelihoods calls each with the answer to every request, in their order. A
// request longer than the model's context is refused with model.ErrContext.
func LogLikelihoods(ctx context.Context, m *model.Model, requests []Continuation, each func(request int, l LogLikelihood) error) error {
	windows := make([]dataset.Window, len(requests))
	for i, r := range requests {
		if len(r.Context) == 0 {
			return fmt.Errorf("request %d: want at least one token of context", i)
		}
		tokens := make([]int, 0, len(r.Context)+len(r.Tokens))
		windows[i] = dataset.Window{Tokens: append(append(tokens, r.Context...), r.Tokens...), FirstScored: len(r.Context)}
	}
	return ForEachWindow(ctx, m, windows, nil, func(w int) error {
		tokens, first := windows[w].Tokens, windows[w].FirstScored
		rows, targets := rowsBetween(first-1, len(tokens)-1), tokens[first:]
		l := LogLikelihood{Greedy: true}
		nll, err := m.NLL(rows, targets)
		if err != nil {
			return err
		}
		argmax, err := m.Argmax(rows)
		if err != nil {
			return err
		}
		for i, x := range nll {
			l.Tokens = append(l.Tokens, -x)
			l.Greedy = l.Greedy && argmax[i] == targets[i]
		}
		return each(w, l)
	})
}
