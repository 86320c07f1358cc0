package device

// GraphDecoder is a Device that runs decode steps as graphs: a step is queued as one unit,
// and the tokens that it samples are the input of the next one, without the host between
// them. What differs between sequences is data in DecodeRows, so that they join and leave
// without a new capture.
type GraphDecoder interface {
	Device
	// NewDecodeRows makes the state of a number of rows, all of them padding, for caches
	// of a number of slots.
	NewDecodeRows(rows, slots, vocabulary int) (DecodeRows, error)
	// Capture records the operations that step queues, without running them: one Decode
	// pass over the first n rows, with Sample at its end. Tokens, slots and positions are
	// those of the rows, whatever step passes. Positions stay below limit.
	Capture(rows DecodeRows, n, limit int, step func()) (DecodeGraph, error)
	// Sample, while a step is captured, chooses the next token of each of n rows, which
	// becomes the row's next input, one position on. A step that was captured without
	// filters serves rows for which DecodeRows.NeedFilters is false.
	Sample(h LMHead, n int, filters bool)
}

// DecodeRow says where a sequence is in a decode step.
type DecodeRow struct {
	Token    int // the next input
	Slot     int // in the KV cache
	Position int // of the next input
	Sampling SamplingParams
	Stream   uint64 // the key of its random numbers
	// Seen are the tokens that a repetition penalty applies to; those that are sampled
	// are added by the device. nil keeps what the device knows of the slot.
	Seen []int
}

// DecodeRows is what decode steps read from the device's memory, row by row.
type DecodeRows interface {
	// Set gives a row to a sequence, from the next Launch on.
	Set(row int, r DecodeRow) error
	// Clear makes a row padding, from the next Launch on. Steps compute padding rows on a
	// slot that no sequence has, and their tokens mean nothing.
	Clear(row int)
	// NeedFilters reports whether one of the first n rows needs a step with filters.
	NeedFilters(n int) bool
	// Free gives the memory back, after the graphs that were captured with it.
	Free()
}

// DecodeGraph is a captured decode step.
type DecodeGraph interface {
	// Launch queues one more step. At most two may be queued that Wait has not returned,
	// of all graphs with the same rows.
	Launch() error
	// Wait waits for the oldest of the graph's steps that it has not yet returned, and
	// fills in the tokens of its n rows; -1 where a logit is not finite.
	Wait(tokens []int) error
	Close() error
}
