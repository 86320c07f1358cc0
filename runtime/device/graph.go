package device

// GraphDecoder is a Device that repeats a decode step without the host: the tokens that
// a step samples are the input of the next one.
type GraphDecoder interface {
	Device
	// Capture records the operations that step queues, without running them. They are
	// one Decode pass over one row for each of the sequences, and Sample at its end.
	// The tokens and positions that step passes are ignored; the sequences and their
	// order are not. Positions stay below limit.
	Capture(sequences []int, limit int, step func()) (DecodeGraph, error)
	// Sample is called while a step is captured. It samples the next token of each of n
	// rows, which becomes the row's next input, and advances the row's position.
	Sample(h LMHead, n int, by SamplingParams)
}

// DecodeGraph is a captured decode step.
type DecodeGraph interface {
	// Start sets the next input and the position of every row. With a repetition
	// penalty, seen holds the tokens that each row has seen; those that are sampled
	// from then on are added by the device.
	Start(tokens, positions []int, seen [][]int) error
	// Launch queues one more step. At most two steps may be queued that Wait has not
	// returned.
	Launch() error
	// Wait waits for the oldest step that it has not yet returned, and fills in the
	// tokens that it sampled; -1 where a logit is not finite.
	Wait(tokens []int) error
	Close() error
}
