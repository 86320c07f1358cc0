package latency

import (
	"fmt"
	"math/rand/v2"
)

// Protocol says what one run is and how many there are.
type Protocol struct {
	In      int    `json:"in"`      // T, prompt tokens a sequence
	Out     int    `json:"out"`     // T, tokens generated a sequence, end-of-sequence ignored
	Batch   int    `json:"batch"`   // B, sequences a run
	Runs    int    `json:"runs"`    // rounds; every model runs once in each
	Discard int    `json:"discard"` // rounds at the start that no statistic uses
	Seed    uint64 `json:"seed"`    // of the prompt, the order within rounds, and the bootstrap

	// Turns is what the models of a round take turns by: TurnsRuns, the default, or TurnsSteps.
	Turns string `json:"turns,omitempty"`
}

// Values of Protocol.Turns. By steps, the single passes of all models take turns (see
// timing.MeasureInTurns): on a machine that others slow down for tenths of seconds, ratios
// repeat much better.
const (
	TurnsRuns  = "runs"
	TurnsSteps = "steps"
)

// Default is the protocol of the MoP paper: 12 tokens in, 128 forced out,
// batch 1, 20 runs of which the first 10 are discarded.
func Default() Protocol { return Protocol{In: 12, Out: 128, Batch: 1, Runs: 20, Discard: 10} }

// Kept is the number of rounds that the statistics use.
func (p Protocol) Kept() int { return p.Runs - p.Discard }

// Validate returns an error for the first field that no measurement can use.
func (p Protocol) Validate() error {
	for _, f := range []struct {
		name  string
		value int
	}{{"in", p.In}, {"out", p.Out}, {"batch", p.Batch}, {"runs", p.Runs}} {
		if f.value < 1 {
			return fmt.Errorf("bench: %s: want at least 1, got %d", f.name, f.value)
		}
	}
	if p.Discard < 0 || p.Discard >= p.Runs {
		return fmt.Errorf("bench: discard: want 0 to %d, fewer than the %d runs, got %d", p.Runs-1, p.Runs, p.Discard)
	}
	if p.Turns != "" && p.Turns != TurnsRuns && p.Turns != TurnsSteps {
		return fmt.Errorf("bench: turns: want %s or %s, got %q", TurnsRuns, TurnsSteps, p.Turns)
	}
	// Far above any use; the limits only keep a typing error from using up all memory
	// or running without end.
	if p.Runs > maxTimes/p.Out {
		return fmt.Errorf("bench: want at most %d token times for a model, got %d runs x %d out", maxTimes, p.Runs, p.Out)
	}
	if p.In > maxTokens/p.Batch || p.Out > maxTokens/p.Batch {
		return fmt.Errorf("bench: want at most %d tokens in and out, got (%d in, %d out) x %d", maxTokens, p.In, p.Out, p.Batch)
	}
	return nil
}

const (
	maxTokens = 1 << 24
	maxTimes  = 1 << 24 // of 8 bytes
)

// Each of the three uses of the seed has its own stream of random numbers, so that a
// longer prompt does not change the order of the runs.
const (
	streamPrompt = iota + 1
	streamOrder
	streamBootstrap
)

func (p Protocol) rand(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(p.Seed, stream)) }

// Prompts samples the prompt tokens [B][In] that every model and every run gets:
// uniform over 0..vocab-1 without the tokens in special. For models of several
// vocabularies give the smallest, and all their special tokens.
func (p Protocol) Prompts(vocab int, special []int) ([][]int, error) {
	never := make(map[int]bool, len(special))
	for _, token := range special {
		if token >= 0 && token < vocab {
			never[token] = true
		}
	}
	if vocab <= len(never) {
		return nil, fmt.Errorf("bench: prompt: vocabulary of %d tokens has none that is not special", vocab)
	}
	r := p.rand(streamPrompt)
	prompts := make([][]int, p.Batch)
	for b := range prompts {
		prompts[b] = make([]int, p.In)
		for t := range prompts[b] {
			token := r.IntN(vocab)
			for never[token] {
				token = r.IntN(vocab)
			}
			prompts[b][t] = token
		}
	}
	return prompts, nil
}
