package engine

import (
	"cmp"
	"math"
	"slices"
)

// withLogprobs gives a token with the logarithm of its probability and the n most probable
// tokens.   z [V] logits
func withLogprobs(token int, z []float32, n int) Token {
	logSum := logSumExp(z)
	t := Token{TokenLogprob: TokenLogprob{token, float64(z[token]) - logSum}, Top: []TokenLogprob{}}
	for _, id := range largest(z, n) {
		t.Top = append(t.Top, TokenLogprob{id, float64(z[id]) - logSum})
	}
	return t
}

// largest gives the indices of the n largest logits, the largest first and the lower index
// first among equals.
func largest(z []float32, n int) (best []int) {
	for i, v := range z {
		if len(best) == n && (n == 0 || v <= z[best[n-1]]) {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, i, func(a, b int) int {
			return cmp.Or(cmp.Compare(z[b], z[a]), cmp.Compare(a, b))
		})
		best = slices.Insert(best, at, i)
		best = best[:min(len(best), n)]
	}
	return best
}

// logSumExp is log sum exp z.
func logSumExp(z []float32) float64 {
	top := float64(slices.Max(z))
	sum := 0.0
	for _, v := range z {
		sum += math.Exp(float64(v) - top)
	}
	return top + math.Log(sum)
}

// promptLogprob adds the logarithm of the probability of the prompt's token at a position,
// from the logits behind the one before it. It reports whether that is a number.
func (r *request) promptLogprob(position int, z []float32) bool {
	if len(r.prompt) == 0 {
		r.prompt = append(r.prompt, Token{TokenLogprob: TokenLogprob{ID: r.Prompt[0]}})
	}
	t := withLogprobs(r.Prompt[position], z, r.TopLogprobs)
	r.prompt = append(r.prompt, t)
	return !math.IsNaN(t.Logprob)
}
