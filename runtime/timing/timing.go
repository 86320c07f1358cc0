// Package timing measures one run of one model: prompts go in, and the time at which
// each generated token is there comes out. How many runs there are, in which order, and
// what is computed from them is the caller's business (see bench/latency).
package timing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// Generate generates out tokens for each of the prompts [B][T], all sequences together,
// and ignores end-of-sequence tokens. It calls step each time that the next token of
// every sequence is known, so out times in all, on one goroutine. It starts from an empty
// cache, does not change the prompts, and does not read the clock.
type Generate func(ctx context.Context, prompts [][]int, out int, step func()) error

// Generator returns the Generate of a loaded model. The cache has as many sequences as
// there are prompts, and room for a prompt and its continuation.
func Generator(m *model.Model, cache *kvcache.Cache) Generate {
	return func(ctx context.Context, prompts [][]int, out int, step func()) error {
		return generate.Run(ctx, m, cache, prompts, generate.Options{MaxTokens: out, IgnoreEOS: true}, func(_, _ []int) []int {
			step()
			return nil
		})
	}
}

// Run is one timed run.
type Run struct {
	Start  time.Time
	Tokens []time.Duration // [out], from Start to each token
}

// TTFT is the time to the first token: prefill, and sampling from its logits.
func (r Run) TTFT() time.Duration { return r.Tokens[0] }

// Total is the time to the last token.
func (r Run) Total() time.Duration { return r.Tokens[len(r.Tokens)-1] }

// Measure times one run, from the moment that the prompts are handed over to the moment
// that the last token is known: prefill, every decode step and sampling included, loading
// and tokenizing excluded. now is the clock; nil means time.Now, which is monotonic.
//
// The Go runtime's garbage collection can fall into a run. A caller that compares models
// calls runtime.GC before each run, so that no model pays for what another one left.
func Measure(ctx context.Context, g Generate, prompts [][]int, out int, now func() time.Time) (Run, error) {
	if now == nil {
		now = time.Now
	}
	at := make([]time.Time, 0, min(out, 1<<12))
	r := Run{Start: now()}
	if err := g(ctx, prompts, out, func() { at = append(at, now()) }); err != nil {
		return r, err
	}
	if len(at) != out {
		return r, fmt.Errorf("want %d tokens, got %d", out, len(at))
	}
	r.Tokens = make([]time.Duration, out)
	for i, t := range at {
		r.Tokens[i] = t.Sub(r.Start)
	}
	return r, r.check()
}

// check returns an error for times that rates and ratios cannot be divided by.
func (r Run) check() error {
	if r.TTFT() <= 0 || (len(r.Tokens) > 1 && r.Total() <= r.TTFT()) {
		return errors.New("the clock did not move between tokens")
	}
	return nil
}
