// Package latency measures how long models take. In flow loaded models, each a
// function that generates, and a protocol; out flow raw samples and, from
// them, one row of statistics a model.
//
// A run is timed from the moment that the prompt's ids are handed over to the
// moment that the last id is there: prefill, every decode step and sampling
// included, loading and tokenising excluded. Time to first token ends at the
// first id. All models live in one process and take turns, in a new order
// every round, so that drift of the machine hits all alike.
package latency

import (
	"context"
	"time"
)

// Model is one loaded model under measurement. The first of a list is the
// dense one, which the others are compared with.
type Model struct {
	Name          string
	Params        int64
	Compression   float64 // 1 - params/params of the dense model; 0 for the dense model itself
	Vocab         int     // V: ids 0..V-1 are legal
	SpecialTokens []int   // ids that a prompt never holds (BOS, EOS, control tokens)
	Context       int     // most positions a sequence may take; 0 = no limit

	// BytesPerToken is what a decode step reads, weights and cache, averaged
	// over the run's steps and divided by the batch.
	BytesPerToken int64

	// PrefillFlops is what forming the first ids takes, for all sequences, and
	// DecodeFlops what one more id takes, averaged over the run's steps; a
	// multiply-add counts as two. 0 = not known.
	PrefillFlops, DecodeFlops int64

	// PrefillBytes is what the prompt's pass must read at least: every weight
	// once. 0 = not known.
	PrefillBytes int64

	// PeakBytes is the weights and the cache at its longest, as the runtime counts
	// them, without activations. The process's resident size cannot be used, since
	// all models share the process.
	PeakBytes int64

	Load time.Duration // opening the checkpoint, until the model can run

	// Run generates out ids for each of the prompts [B][In], all sequences in
	// step, end-of-sequence ignored. It calls step once each time that the
	// next id of every sequence is known, so out times in all, on one
	// goroutine. The clock starts before Run and is read in step, by the
	// caller: Run does not time anything. It starts from an empty cache and
	// leaves the prompts as they are.
	Run func(ctx context.Context, prompts [][]int, out int, step func()) error
}

// Sample is one run of one model.
type Sample struct {
	Model     string          `json:"model"`
	Round     int             `json:"round"`     // from 0
	Position  int             `json:"position"`  // place within the round, from 0
	Discarded bool            `json:"discarded"` // in the rounds that no statistic sees
	Start     time.Duration   `json:"start_ns"`  // since the start of the measurement: shows drift
	Total     time.Duration   `json:"total_ns"`  // ids in to last id out
	TTFT      time.Duration   `json:"ttft_ns"`   // ids in to first id out
	Others    time.Duration   `json:"others_ns"` // processor time of other processes meanwhile, all cores, to about 10 ms a core
	Steal     time.Duration   `json:"steal_ns"`  // processor time that the hypervisor gave away meanwhile
	Tokens    []time.Duration `json:"token_ns"`  // [Out] ids in to each id out: Tokens[0] = TTFT, the last = Total
}
