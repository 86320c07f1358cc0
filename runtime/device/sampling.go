package device

import (
	"fmt"
	"math"
)

// SamplingParams says how the next token of a sequence is chosen from its logits. The zero
// value is greedy. The steps and their order are those of transformers: repetition penalty,
// temperature, top-k, top-p, min-p.
//
// The logits of tokens that the sequence has seen are divided by the penalty where they are
// positive, and multiplied by it where they are negative. At temperature 0 the token is the
// argmax, the lowest id among equals. Else, of the tokens in that order, the first TopK are
// kept; of those the fewest that have the share TopP of their probability,
// softmax(z/Temperature); of those the ones with at least MinP of the first one's. Among
// them the token with the largest z/Temperature - log(e) is chosen, e being exponential
// number pos*V + token (package random) of the sequence's stream, and pos the position
// of the last input token. A sample therefore depends on the stream and the position alone;
// devices agree with the host but for rounding.
type SamplingParams struct {
	Temperature       float64 // 0 = greedy
	TopK              int     // keep the k largest logits; 0 = all
	TopP              float64 // keep the smallest set of at least this probability; 0 or 1 = all
	MinP              float64 // keep tokens of at least this share of the largest probability; 0 = all
	RepetitionPenalty float64 // of tokens seen; 0 or 1 = none
	Seed              uint64  // of the sequences' streams of random numbers
}

// Check refuses values that mean nothing.
func (p SamplingParams) Check() error {
	switch {
	case p.Temperature < 0 || math.IsNaN(p.Temperature) || math.IsInf(p.Temperature, 0):
		return fmt.Errorf("temperature: want 0 or more, got %v", p.Temperature)
	case p.TopK < 0:
		return fmt.Errorf("top-k: want 0 or more, got %d", p.TopK)
	case !(p.TopP >= 0 && p.TopP <= 1):
		return fmt.Errorf("top-p: want a value in [0, 1], got %v", p.TopP)
	case !(p.MinP >= 0 && p.MinP <= 1):
		return fmt.Errorf("min-p: want a value in [0, 1], got %v", p.MinP)
	case !(p.RepetitionPenalty >= 0) || math.IsInf(p.RepetitionPenalty, 0):
		return fmt.Errorf("repetition-penalty: want 0 or more, got %v", p.RepetitionPenalty)
	}
	return nil
}

// HasPenalty reports whether tokens that were seen count.
func (p SamplingParams) HasPenalty() bool { return p.RepetitionPenalty > 0 && p.RepetitionPenalty != 1 }
