package generate

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"

	kernel "mop/kernels/cpu"
	"mop/runtime/device"
	"mop/runtime/random"
)

// SamplingParams says how the next token is chosen from the logits.
type SamplingParams = device.SamplingParams

// LogitRules change a sequence's logits before SamplingParams apply. Only the host knows
// them. The zero value changes nothing.
type LogitRules struct {
	Presence  float64         // subtracted from the logits of tokens that were sampled before
	Frequency float64         // subtracted from a token's logit each time that it was sampled
	Bias      map[int]float64 // added to the logits of these tokens
	Forbidden []int           // tokens that are not sampled among the first MinTokens
	MinTokens int
}

// Any reports whether the rules change a logit.
func (r LogitRules) Any() bool {
	return r.Presence != 0 || r.Frequency != 0 || len(r.Bias) > 0 || len(r.Forbidden) > 0 && r.MinTokens > 0
}

// Constraint says which tokens may come next, so that a text keeps a form.
type Constraint interface {
	// Restrict sets the logits of the tokens that must not come next to a value.   z [V]
	Restrict(z []float32, to float32) error
	// Accept takes in the token that comes next.
	Accept(token int) error
}

// Sampler chooses the tokens of one sequence on the host, as SamplingParams says.
type Sampler struct {
	SamplingParams
	Rules      LogitRules
	Constraint Constraint // nil = there is none

	key        uint64 // of the sequence's stream of random numbers
	pos        int    // of the last token
	seen       map[int]bool
	counts     map[int]int // how often each token was sampled; kept where there are rules
	sampled    int
	changed    []float32   // the logits after the rules
	candidates []candidate // memory for the next token
}

// candidate is a token with its logit, and later its probability.
type candidate struct {
	token int
	z     float64
}

// NewSampler makes the sampler of sequence seq behind a prompt. Sequences of one seed and
// different numbers have different random numbers.
func NewSampler(s SamplingParams, seq int, prompt []int) *Sampler {
	p := &Sampler{SamplingParams: s, key: random.Key(s.Seed, fmt.Sprintf("draw/%d", seq)), pos: len(prompt) - 1, seen: map[int]bool{}, counts: map[int]int{}}
	for _, token := range prompt {
		p.seen[token] = true
	}
	return p
}

// ErrNotFinite is returned where a logit of a model is not a finite number: some of its
// weights are not, or they are too large for its type.
var ErrNotFinite = errors.New("the logit is not finite")

// ErrNoToken is returned where no token may come next: the rules forbid all those that the
// constraint allows.
var ErrNoToken = errors.New("every token is forbidden")

// Key is the key of the sequence's stream of random numbers.
func (p *Sampler) Key() uint64 { return p.key }

// Seen lists the tokens that a repetition penalty applies to.
func (p *Sampler) Seen() []int {
	return slices.AppendSeq(make([]int, 0, len(p.seen)), maps.Keys(p.seen))
}

// Next chooses a token and counts it as seen; logits [V] are not changed.
func (p *Sampler) Next(logits []float32) (int, error) {
	token, finite := kernels().Argmax(logits)
	if !finite {
		i := slices.IndexFunc(logits, func(z float32) bool { return z-z != 0 })
		return 0, fmt.Errorf("token %d: %w", i, ErrNotFinite)
	}
	changed := p.Rules.Any() || p.Constraint != nil
	if changed {
		logits = p.applyRules(logits)
	}
	if p.Constraint != nil {
		if err := p.Constraint.Restrict(logits, float32(math.Inf(-1))); err != nil {
			return 0, err
		}
	}
	if p.Temperature != 0 || p.HasPenalty() || changed {
		var err error
		if token, err = p.choose(logits); err != nil {
			return 0, err
		}
	}
	p.Accept(token)
	if p.Constraint != nil {
		return token, p.Constraint.Accept(token)
	}
	return token, nil
}

// kernels are the fastest of this processor. Whichever they are, the largest logit is the same.
var kernels = sync.OnceValue(func() kernel.Set {
	s, err := kernel.Choose("auto")
	if err != nil {
		panic(err) // auto is always a set
	}
	return s
})

// applyRules gives a copy of the logits that the rules have changed.
func (p *Sampler) applyRules(logits []float32) []float32 {
	p.changed = append(p.changed[:0], logits...)
	z := p.changed
	for token, bias := range p.Rules.Bias {
		z[token] += float32(bias)
	}
	for token, n := range p.counts {
		z[token] -= float32(p.Rules.Presence + float64(n)*p.Rules.Frequency)
	}
	if p.sampled < p.Rules.MinTokens {
		for _, token := range p.Rules.Forbidden {
			z[token] = float32(math.Inf(-1))
		}
	}
	return z
}

// Accept counts the next token as seen and sampled.
func (p *Sampler) Accept(token int) {
	p.seen[token] = true
	if p.Rules.Any() {
		p.counts[token]++
	}
	p.sampled++
	p.pos++
}

// choose gives the next token, with a penalty or at a temperature. Logits of negative infinity
// are those of forbidden tokens.
func (p *Sampler) choose(logits []float32) (int, error) {
	if p.Temperature == 0 {
		best := 0
		for token := range logits {
			if p.penalized(token, logits[token]) > p.penalized(best, logits[best]) {
				best = token
			}
		}
		if math.IsInf(float64(logits[best]), -1) {
			return 0, ErrNoToken
		}
		return best, nil
	}
	kept, _ := p.keep(logits)
	if len(kept) == 0 {
		return 0, ErrNoToken
	}
	token, least := kept[0].token, math.Inf(1)
	for _, x := range kept {
		e := random.Exponential(p.key, uint64(p.pos)*uint64(len(logits))+uint64(x.token)) / x.z
		if e < least || e == least && x.token < token {
			token, least = x.token, e
		}
	}
	return token, nil
}

// penalized is a logit after the repetition penalty.
func (p *Sampler) penalized(token int, logit float32) float64 {
	z := float64(logit)
	if p.HasPenalty() && p.seen[token] {
		if z > 0 {
			return z / p.RepetitionPenalty
		}
		return z * p.RepetitionPenalty
	}
	return z
}

// keep gives the tokens that may be sampled, each with its probability times sum. Where
// there are filters the largest probability comes first. They are valid until the next call.
func (p *Sampler) keep(logits []float32) (c []candidate, sum float64) {
	c = p.candidates[:0]
	top := math.Inf(-1)
	for token := range logits {
		z := p.penalized(token, logits[token])
		if math.IsInf(z, -1) { // forbidden
			continue
		}
		c = append(c, candidate{token, z})
		top = max(top, z)
	}
	if p.candidates = c; len(c) == 0 {
		return nil, 0
	}
	weight := func(z float64) float64 { return math.Exp((z - top) / p.Temperature) }
	topP := p.TopP > 0 && p.TopP < 1
	if p.TopK > 0 && p.TopK < len(c) {
		c = p.sortTop(c, top, func(sorted []candidate) bool { return len(sorted) >= p.TopK })[:p.TopK]
	} else if topP || p.MinP > 0 {
		total := 0.0
		for _, x := range c {
			total += weight(x.z)
		}
		c = p.sortTop(c, top, func(sorted []candidate) bool {
			acc := 0.0
			for _, x := range sorted {
				acc += weight(x.z)
			}
			last := weight(sorted[len(sorted)-1].z)
			return topP && acc >= p.TopP*total || !topP && last < p.MinP
		})
		sum = total
	}
	summed := sum > 0
	for i := range c {
		c[i].z = weight(c[i].z)
		if !summed {
			sum += c[i].z
		}
	}
	if topP {
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

// sortTop sorts the candidates with the largest logits and returns as many as are enough:
// sorting a whole vocabulary would take longer than a decode step of a small model. The
// lower id comes first among equals, so that the order is fixed.
func (p *Sampler) sortTop(c []candidate, top float64, enough func(sorted []candidate) bool) []candidate {
	for distance := max(4*p.Temperature, 1); ; distance *= 4 {
		n := 0
		for i := range c {
			if c[i].z >= top-distance {
				c[n], c[i] = c[i], c[n]
				n++
			}
		}
		slices.SortFunc(c[:n], func(a, b candidate) int {
			return cmp.Or(cmp.Compare(b.z, a.z), cmp.Compare(a.token, b.token))
		})
		if n == len(c) || enough(c[:n]) {
			return c[:n]
		}
	}
}
