package device

import "slices"

// SamplingParams say how the next token is chosen. First, positive logits of tokens that
// were seen are divided by the repetition penalty, and negative ones multiplied by it.
// At temperature 0 the token with the largest logit is taken, the lowest id among
// equals. Otherwise the tokens are sorted by their logits, and filters are applied in
// this order: TopK keeps the first ones; TopP keeps the fewest whose probabilities,
// softmax(z/Temperature), add up to TopP; MinP keeps those with at least MinP times the
// first one's probability. Of the rest, the token with the largest
// z/Temperature - log(e) is taken, where e is the exponential random number pos*V + id
// of the row's stream (package random) and pos is the row's position. A sample thus
// depends on the row's stream and position alone. Devices agree to rounding.
type SamplingParams struct {
	Temperature       float64
	TopK              int      // 0 = all
	TopP              float64  // 0 or 1 = all
	MinP              float64  // 0 = all
	RepetitionPenalty float64  // 0 or 1 = none
	Streams           []uint64 // [N]; nil at temperature 0
}

// HasPenalty reports whether tokens that were seen change the logits.
func (p SamplingParams) HasPenalty() bool {
	return p.RepetitionPenalty > 0 && p.RepetitionPenalty != 1
}

// Equal reports whether all fields are equal.
func (p SamplingParams) Equal(o SamplingParams) bool {
	return p.Temperature == o.Temperature && p.TopK == o.TopK && p.TopP == o.TopP && p.MinP == o.MinP && p.RepetitionPenalty == o.RepetitionPenalty && slices.Equal(p.Streams, o.Streams)
}
