package generate

import (
	"fmt"
	"maps"
	"math"

	"mop/runtime/random"
)

// Distribution is what a token is sampled from: probabilities by token, nil where it is greedy.
type Distribution map[int]float64

// distribution gives the probabilities behind some logits; at temperature 0 only the choice.
func (p *Sampler) distribution(logits []float32) (choice int, d Distribution, err error) {
	for i, z := range logits {
		if z-z != 0 {
			return 0, nil, fmt.Errorf("token %d: %w", i, ErrNotFinite)
		}
	}
	if choice, err = p.choose(logits); err != nil || p.Temperature == 0 {
		return choice, nil, err
	}
	kept, sum := p.keep(logits)
	d = make(Distribution, len(kept))
	for _, x := range kept {
		d[x.token] = x.z / sum
	}
	return choice, d, nil
}

// Follow makes the sampler of a draft continue the text of the model's sampler.
func (p *Sampler) Follow(model *Sampler) {
	p.pos = model.pos
	if p.HasPenalty() {
		p.seen = maps.Clone(model.seen)
	}
}

// Propose chooses the next token for a draft and counts it as seen. q is the distribution
// that it comes from.   logits [V] of the draft
func (p *Sampler) Propose(logits []float32) (token int, q Distribution, err error) {
	token, q, err = p.distribution(logits)
	if err != nil {
		return 0, nil, err
	}
	if q != nil {
		token = q.sample(p.stream("draft"), uint64(p.pos)*uint64(len(logits)))
	}
	p.seen[token] = true
	p.pos++
	return token, q, nil
}

// Verify chooses the next token where a draft has proposed one: the proposal, or the token in
// its place. q is the distribution of the proposal. The sampler must have no rules.
// logits [V] of the model
func (p *Sampler) Verify(logits []float32, proposal int, q Distribution) (token int, accepted bool, err error) {
	choice, d, err := p.distribution(logits)
	if err != nil {
		return 0, false, err
	}
	token, accepted = p.check(proposal, choice, d, q)
	p.Accept(token)
	return token, accepted, nil
}

// check decides about a proposed token: it, or the token in its place.
func (p *Sampler) check(proposal, choice int, d, q Distribution) (token int, same bool) {
	if d == nil {
		return choice, proposal == choice
	}
	u := (float64(random.Word(p.stream("accept"), uint64(p.pos))>>32) + 0.5) * 0x1p-32
	if u*q[proposal] < d[proposal] {
		return proposal, true
	}
	rest := Distribution{}
	for token, x := range d {
		if y := x - q[token]; y > 0 {
			rest[token] = y
		}
	}
	if len(rest) == 0 { // by rounding
		return choice, false
	}
	return rest.sample(p.stream("rest"), uint64(p.pos)<<32), false
}

// stream is the key of random numbers that are independent of those of plain sampling.
func (p *Sampler) stream(name string) uint64 { return random.Key(p.key, name) }

// sample draws a token. first is the number of the random number of token 0.
func (d Distribution) sample(key, first uint64) int {
	token, least := -1, math.Inf(1)
	for t, p := range d {
		if e := random.Exponential(key, first+uint64(t)) / p; e < least || e == least && t < token {
			token, least = t, e
		}
	}
	return token
}
