package generate

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"mop/runtime/device"
	"mop/runtime/random"
)

// SamplingParams says how the next token is chosen from the logits.
type SamplingParams = device.SamplingParams

// sampler chooses the tokens of one sequence on the host, as SamplingParams says.
type sampler struct {
	SamplingParams
	key        uint64 // of the sequence's stream of random numbers
	pos        int    // of the last token
	seen       map[int]bool
	candidates []candidate // memory for the next token
}

// candidate is a token with its logit, and later its probability.
type candidate struct {
	token int
	z     float64
}

func newSampler(s SamplingParams, seq int, prompt []int) *sampler {
	p := &sampler{SamplingParams: s, key: random.Key(s.Seed, fmt.Sprintf("draw/%d", seq)), pos: len(prompt) - 1, seen: map[int]bool{}}
	for _, token := range prompt {
		p.seen[token] = true
	}
	return p
}

// ErrNotFinite is returned where a logit of a model is not a finite number: some of its
// weights are not, or they are too large for its type.
var ErrNotFinite = errors.New("the logit is not finite")

// next chooses a token and counts it as seen; logits [V] are not changed.
func (p *sampler) next(logits []float32) (int, error) {
	token, top := 0, logits[0]
	for i, z := range logits {
		if z-z != 0 {
			return 0, fmt.Errorf("token %d: %w", i, ErrNotFinite)
		}
		if z > top {
			token, top = i, z
		}
	}
	if p.Temperature != 0 || p.HasPenalty() {
		token = p.choose(logits)
	}
	p.accept(token)
	return token, nil
}

// accept counts the next token as seen.
func (p *sampler) accept(token int) {
	p.seen[token] = true
	p.pos++
}

// choose gives the next token, with a penalty or at a temperature.
func (p *sampler) choose(logits []float32) int {
	if p.Temperature == 0 {
		best := 0
		for token := range logits {
			if p.penalized(token, logits[token]) > p.penalized(best, logits[best]) {
				best = token
			}
		}
		return best
	}
	kept, _ := p.keep(logits)
	token, least := kept[0].token, math.Inf(1)
	for _, x := range kept {
		e := random.Exponential(p.key, uint64(p.pos)*uint64(len(logits))+uint64(x.token)) / x.z
		if e < least || e == least && x.token < token {
			token, least = x.token, e
		}
	}
	return token
}

// penalized is a logit after the repetition penalty.
func (p *sampler) penalized(token int, logit float32) float64 {
	z := float64(logit)
	if p.HasPenalty() && p.seen[token] {
		if z > 0 {
			return z / p.RepetitionPenalty
		}
		return z * p.RepetitionPenalty
	}
	return z
}

// keep gives the tokens that may be sampled, the largest probability first, each with its
// probability times sum. They are valid until the next call.
func (p *sampler) keep(logits []float32) (c []candidate, sum float64) {
	c = p.candidates[:0]
	for token := range logits {
		c = append(c, candidate{token, p.penalized(token, logits[token])})
	}
	p.candidates = c
	// The lower id comes first among equals, so that the order is fixed.
	slices.SortFunc(c, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.z, a.z), cmp.Compare(a.token, b.token))
	})
	if p.TopK > 0 && p.TopK < len(c) {
		c = c[:p.TopK]
	}
	top := c[0].z
	for i := range c {
		c[i].z = math.Exp((c[i].z - top) / p.Temperature)
		sum += c[i].z
	}
	if p.TopP > 0 && p.TopP < 1 {
		acc := 0.0
		for i := range c {
			acc += c[i].z
			if acc >= p.TopP*sum {
				c, sum = c[:i+1], acc
				break
			}
		}
	}
	if p.MinP > 0 {
		n := 1
		sum = c[0].z
		for n < len(c) && c[n].z >= p.MinP*c[0].z {
			sum += c[n].z
			n++
		}
		c = c[:n]
	}
	return c, sum
}
