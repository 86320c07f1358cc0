package device

import "slices"

// GraphDecoder is a Device that repeats a decode step by itself: the ids that a step
// chooses are the input of the next, with no word from the host between them.
type GraphDecoder interface {
	Device
	// Capture notes what step queues instead of running it: one pass over one row
	// for each of the sequences, all of kind Decode, and Choose at its end. The ids
	// and positions that step names do not count, the sequences and the order do;
	// positions stay below limit.
	Capture(sequences []int, limit int, step func()) (DecodeGraph, error)
	// Sample, while recorded: each of n rows' next id becomes its next input, one
	// position on. Start says which ids a penalty is for.
	Sample(h LMHead, n int, by SamplingParams)
}

// SamplingParams says how the next id is chosen. Positive logits of ids seen are divided by the
// penalty, negative ones multiplied. At temperature 0 the id is that of the largest
// logit, the lowest of equals. Else it is drawn: of the ids in that order the first
// TopK are kept, of those the fewest that have the share TopP of their probability,
// softmax(z/Temperature), of those the ones with at least MinP of the first one's; and
// the id is the one with the largest z/Temperature - log(e), e being the row's
// exponential number pos*V + id (package random), pos the row's position. A draw
// depends on the row's stream and its position alone, and is the host's but for
// rounding.
type SamplingParams struct {
	Temperature       float64
	TopK              int      // 0 = all
	TopP              float64  // 0 or 1 = all
	MinP              float64  // 0 = all
	RepetitionPenalty float64  // 0 or 1 = none
	Streams           []uint64 // [N]; nil at temperature 0
}

// HasPenalty reports whether ids seen count.
func (d SamplingParams) HasPenalty() bool { return d.RepetitionPenalty > 0 && d.RepetitionPenalty != 1 }

// Equal reports whether two say the same.
func (d SamplingParams) Equal(o SamplingParams) bool {
	return d.Temperature == o.Temperature && d.TopK == o.TopK && d.TopP == o.TopP && d.MinP == o.MinP && d.RepetitionPenalty == o.RepetitionPenalty && slices.Equal(d.Streams, o.Streams)
}

// DecodeGraph is a recorded step.
type DecodeGraph interface {
	// Start sets each row's next input and its position, and, for a penalty, the ids
	// that each has seen; those chosen from then on count by themselves.
	Start(ids, positions []int, seen [][]int) error
	// Launch queues one more step. Two may be under way that Next has not taken.
	Launch() error
	// Wait waits for the oldest step that was not taken, and gives the ids that it
	// chose; -1 where a logit is not finite.
	Wait(ids []int) error
	Close() error
}
