// Package latency measures how long loaded models take, by a protocol: it returns the raw
// samples and, computed from them, one row of statistics a model.
//
// A run is timed from the moment that the prompt's tokens are handed over to the moment
// that the last token is known (see package timing). The time to the first token ends at
// the first token. All models live in one process and take turns, in a new order every
// round, so that drift of the machine affects all models alike.
package latency

import (
	"time"

	"mop/runtime/timing"
)

// Model is one loaded model under measurement. The first of a list is the
// dense one, which the others are compared with.
type Model struct {
	Name          string
	Params        int64
	Compression   float64 // 1 - params/params of the dense model; 0 for the dense model itself
	Vocab         int     // V: tokens 0..V-1 are legal
	SpecialTokens []int   // tokens that a prompt must not hold (BOS, EOS, control tokens)
	Context       int     // most positions a sequence may take; 0 = no limit

	// BytesPerToken is what a decode step reads, weights and cache, averaged
	// over the run's steps and divided by the batch.
	BytesPerToken int64

	// PrefillFlops is the number of operations for the first tokens of all sequences,
	// DecodeFlops that for one more token, averaged over the run's steps; a
	// multiply-add counts as two operations. 0 = not known.
	PrefillFlops, DecodeFlops int64

	// PrefillBytes is what the prompt's pass must read at least: every weight
	// once. 0 = not known.
	PrefillBytes int64

	// PeakBytes is the size of the weights and of the cache at its longest, in the
	// device's element types, without activations. The process's resident size cannot be
	// used because all models share the process.
	PeakBytes int64

	Load time.Duration // opening the checkpoint, until the model can run

	Generate timing.Generate

	// Stages returns how the last run's time to the first token was spent before the
	// prompt's pass; nil = there is nothing before it.
	Stages func() Stages
}

// Stages are the parts of the time to the first token of a prompt with an image.
type Stages struct {
	Preprocess time.Duration `json:"preprocess_ns"` // resizing and normalizing
	Vision     time.Duration `json:"vision_ns"`     // the tower
	Projection time.Duration `json:"projection_ns"`
	Prefill    time.Duration `json:"prefill_ns"` // the rest
}

// Sample is one run of one model.
type Sample struct {
	Model     string          `json:"model"`
	Round     int             `json:"round"`     // from 0
	Position  int             `json:"position"`  // order within the round, from 0
	Discarded bool            `json:"discarded"` // in the rounds that no statistic uses
	Start     time.Duration   `json:"start_ns"`  // since the start of the measurement: shows drift
	Total     time.Duration   `json:"total_ns"`  // tokens in to last token out
	TTFT      time.Duration   `json:"ttft_ns"`   // tokens in to first token out
	Others    time.Duration   `json:"others_ns"` // processor time of other processes meanwhile, all cores, to about 10 ms a core
	Steal     time.Duration   `json:"steal_ns"`  // processor time that the hypervisor gave away meanwhile
	Stages    *Stages         `json:"stages,omitempty"`
	Tokens    []time.Duration `json:"token_ns"` // [Out] tokens in to each token out: Tokens[0] = TTFT, the last = Total
}
