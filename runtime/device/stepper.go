package device

import "slices"

// Stepper is a Device that repeats a decode step by itself: the ids that a step
// chooses are the input of the next, with no word from the host between them.
type Stepper interface {
	Device
	// Record notes what step queues instead of running it: one pass over one row
	// for each of the sequences, all of kind Decode, and Choose at its end. The ids
	// and positions that step names do not count, the sequences and the order do;
	// positions stay below limit.
	Record(sequences []int, limit int, step func()) (Steps, error)
	// Choose, while recorded: each of n rows' next id becomes its next input, one
	// position on. Start says which ids a penalty is for.
	Choose(h Head, n int, by Draw)
}

// Draw says how the next id is chosen. Positive logits of ids seen are divided by the
// penalty, negative ones multiplied. At temperature 0 the id is that of the largest
// logit, the lowest of equals. Else it is drawn: of the ids in that order the first
// TopK are kept, of those the fewest that have the share TopP of their probability,
// softmax(z/Temperature), of those the ones with at least MinP of the first one's; and
// the id is the one with the largest z/Temperature - log(e), e being the row's
// exponential number pos*V + id (package random), pos the row's position. A draw
// depends on the row's stream and its position alone, and is the host's but for
// rounding.
type Draw struct {
	Temperature float64
	TopK        int      // 0 = all
	TopP        float64  // 0 or 1 = all
	MinP        float64  // 0 = all
	Penalty     float64  // 0 or 1 = none
	Streams     []uint64 // [N]; nil at temperature 0
}

// Penalises reports whether ids seen count.
func (d Draw) Penalises() bool { return d.Penalty > 0 && d.Penalty != 1 }

// Equal reports whether two say the same.
func (d Draw) Equal(o Draw) bool {
	return d.Temperature == o.Temperature && d.TopK == o.TopK && d.TopP == o.TopP && d.MinP == o.MinP && d.Penalty == o.Penalty && slices.Equal(d.Streams, o.Streams)
}

// Steps is a recorded step.
type Steps interface {
	// Start sets each row's next input and its position, and, for a penalty, the ids
	// that each has seen; those chosen from then on count by themselves.
	Start(ids, positions []int, seen [][]int) error
	// Queue queues one more step. Two may be under way that Next has not taken.
	Queue() error
	// Next waits for the oldest step that was not taken, and gives the ids that it
	// chose; -1 where a logit is not finite.
	Next(ids []int) error
	Close() error
}
