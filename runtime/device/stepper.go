package device

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
	// position on.
	Choose(h Head, n int, by Draw)
}

// Draw says how the next id is chosen. At temperature 0 it is that of the largest
// logit, the lowest of equals. Else it is drawn from softmax(z/Temperature), by a
// counter-based generator (package random): a draw depends on the row's stream
// and its position alone.
type Draw struct {
	Temperature float64
	Streams     []uint64 // [N]
}

// Steps is a recorded step.
type Steps interface {
	// Start sets each row's next input and its position.
	Start(ids, positions []int) error
	// Queue queues one more step. Two may be under way that Next has not taken.
	Queue() error
	// Next waits for the oldest step that was not taken, and gives the ids that it
	// chose; -1 where a logit is not finite.
	Next(ids []int) error
	Close() error
}
