package generate

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"mop/runtime/random"
)

// SamplingParams says how the next id is drawn from the logits. The zero value is
// greedy. The order of the steps is that of transformers: penalty, temperature,
// top-k, top-p, min-p.
type SamplingParams struct {
	Temperature       float64 // 0 = greedy
	TopK              int     // keep the k likeliest; 0 = all
	TopP              float64 // keep the smallest set of at least this probability; 0 or 1 = all
	MinP              float64 // keep ids of at least this share of the likeliest one's probability; 0 = all
	RepetitionPenalty float64 // divides positive and multiplies negative logits of ids seen; 0 or 1 = none
	Seed              uint64
}

// Check refuses values that mean nothing.
func (s SamplingParams) Check() error {
	switch {
	case s.Temperature < 0 || math.IsNaN(s.Temperature) || math.IsInf(s.Temperature, 0):
		return fmt.Errorf("temperature: want 0 or more, got %v", s.Temperature)
	case s.TopK < 0:
		return fmt.Errorf("top-k: want 0 or more, got %d", s.TopK)
	case !(s.TopP >= 0 && s.TopP <= 1):
		return fmt.Errorf("top-p: want a value in [0, 1], got %v", s.TopP)
	case !(s.MinP >= 0 && s.MinP <= 1):
		return fmt.Errorf("min-p: want a value in [0, 1], got %v", s.MinP)
	case !(s.RepetitionPenalty >= 0) || math.IsInf(s.RepetitionPenalty, 0):
		return fmt.Errorf("repetition-penalty: want 0 or more, got %v", s.RepetitionPenalty)
	}
	return nil
}

// sampler draws ids for one sequence, as device.Draw says.
type sampler struct {
	SamplingParams
	key  uint64 // of the sequence's stream
	pos  int    // of the last id
	seen map[int]bool
	cand []candidate
}

type candidate struct {
	id int
	z  float64 // logit, then probability
}

func newSampler(s SamplingParams, seq int, prompt []int) *sampler {
	p := &sampler{SamplingParams: s, key: random.Key(s.Seed, fmt.Sprintf("draw/%d", seq)), pos: len(prompt) - 1, seen: map[int]bool{}}
	for _, id := range prompt {
		p.seen[id] = true
	}
	return p
}

// ErrNotFinite says that a model's logits are no numbers: of its weights some are
// not, or are too large for its type.
var ErrNotFinite = errors.New("the logit is not finite")

// next draws an id; logits [V] are left as they are.
func (p *sampler) next(logits []float32) (int, error) {
	id, top := 0, logits[0]
	for i, z := range logits {
		if z-z != 0 {
			return 0, fmt.Errorf("id %d: %w", i, ErrNotFinite)
		}
		if z > top {
			id, top = i, z
		}
	}
	if p.Temperature != 0 || p.penalises() {
		id = p.draw(logits)
	}
	p.accept(id)
	return id, nil
}

// accept notes the next id.
func (p *sampler) accept(id int) {
	p.seen[id] = true
	p.pos++
}

func (p *sampler) draw(logits []float32) int {
	if p.Temperature == 0 {
		best := 0
		for id := range logits {
			if p.penalised(id, logits[id]) > p.penalised(best, logits[best]) {
				best = id
			}
		}
		return best
	}
	c, _ := p.candidates(logits)
	id, least := c[0].id, math.Inf(1)
	for _, x := range c {
		e := random.Exponential(p.key, uint64(p.pos)*uint64(len(logits))+uint64(x.id)) / x.z
		if e < least || e == least && x.id < id {
			id, least = x.id, e
		}
	}
	return id
}

func (p *sampler) penalises() bool { return p.RepetitionPenalty > 0 && p.RepetitionPenalty != 1 }

// penalised is a logit after the repetition penalty.
func (p *sampler) penalised(id int, logit float32) float64 {
	z := float64(logit)
	if p.penalises() && p.seen[id] {
		if z > 0 {
			return z / p.RepetitionPenalty
		}
		return z * p.RepetitionPenalty
	}
	return z
}

// candidates are the ids that may be drawn, likeliest first, each with its
// probability times sum. They are valid until the next call.
func (p *sampler) candidates(logits []float32) (c []candidate, sum float64) {
	p.cand = p.cand[:0]
	for id := range logits {
		p.cand = append(p.cand, candidate{id, p.penalised(id, logits[id])})
	}
	// A tie takes the lower id, so that the order is fixed.
	slices.SortFunc(p.cand, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.z, a.z), cmp.Compare(a.id, b.id))
	})
	c = p.cand
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
		keep := 1
		sum = c[0].z
		for keep < len(c) && c[keep].z >= p.MinP*c[0].z {
			sum += c[keep].z
			keep++
		}
		c = c[:keep]
	}
	return c, sum
}
