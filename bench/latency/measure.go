package latency

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"mop/internal/progress"
	"mop/runtime/timing"
)

// Options of a measurement. The zero value is the usual one.
type Options struct {
	Progress progress.Func      // called after each run, outside its time
	Sample   func(Sample) error // called after each run, outside its time; an error ends the measurement
	Now      func() time.Time   // the clock; nil = time.Now, which is monotonic
	// OtherLoad is cumulative processor time of others; nil = not known.
	OtherLoad func() (others, steal time.Duration, ok bool)
	// More decides after the protocol's last round, and after every round that
	// follows, whether to do one more; nil = never. A caller that computes rows sets
	// the protocol's Runs to the number of rounds that were done.
	More func(rounds int, samples []Sample) bool
}

// Measure runs every model once a round, in an order that is shuffled anew for each
// round, and returns the samples in the order in which they were taken, with discarded
// ones flagged. On an error, or when ctx ends, the samples so far come with it.
//
// A garbage collection precedes each run, outside its time, so that no model pays for
// what another one left.
func Measure(ctx context.Context, p Protocol, models []Model, o Options) ([]Sample, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	prompts, err := commonPrompts(p, models)
	if err != nil {
		return nil, err
	}
	now := o.Now
	if now == nil {
		now = time.Now
	}
	order := make([]int, len(models))
	for i := range order {
		order[i] = i
	}
	r := p.rand(streamOrder)
	var samples []Sample
	begin := now()
	for round := 0; round < p.Runs || o.More != nil && o.More(round, samples); round++ {
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for position, i := range order {
			if err := ctx.Err(); err != nil {
				return samples, err
			}
			runtime.GC()
			others, steal := o.load()
			one, err := timing.Measure(ctx, models[i].Generate, prompts, p.Out, now)
			if err != nil {
				return samples, fmt.Errorf("bench: %s: round %d: %w", models[i].Name, round, err)
			}
			othersAfter, stealAfter := o.load()
			samples = append(samples, Sample{
				Model:     models[i].Name,
				Round:     round,
				Position:  position,
				Discarded: round < p.Discard,
				Start:     one.Start.Sub(begin),
				Total:     one.Total(),
				TTFT:      one.TTFT(),
				Others:    othersAfter - others,
				Steal:     stealAfter - steal,
				Stages:    models[i].stages(one.TTFT()),
				Tokens:    one.Tokens,
			})
			o.Progress.Report(progress.Update{Phase: "latency runs", Done: len(samples), Total: max(p.Runs, round+1) * len(models)})
			if o.Sample != nil {
				if err := o.Sample(samples[len(samples)-1]); err != nil {
					return samples, err
				}
			}
		}
	}
	return samples, nil
}

// stages are those of the last run, of which the prompt's pass is what is left of the time
// to the first token; nil = there are none.
func (m *Model) stages(ttft time.Duration) *Stages {
	if m.Stages == nil {
		return nil
	}
	s := m.Stages()
	s.Prefill = ttft - s.Preprocess - s.Vision - s.Projection
	return &s
}

func (o Options) load() (others, steal time.Duration) {
	if o.OtherLoad != nil {
		others, steal, _ = o.OtherLoad()
	}
	return others, steal
}

// commonPrompts checks the models and samples the prompts that fit them all.
func commonPrompts(p Protocol, models []Model) ([][]int, error) {
	if len(models) == 0 {
		return nil, errors.New("bench: no model given")
	}
	var special []int
	vocab := models[0].Vocab
	seen := map[string]bool{}
	for _, s := range models {
		switch {
		case seen[s.Name]:
			return nil, fmt.Errorf("bench: %s: given twice", s.Name)
		case s.Context > 0 && p.In > s.Context+1-p.Out: // the last token out is not fed back
			return nil, fmt.Errorf("bench: %s: context is %d tokens, got %d in and %d out", s.Name, s.Context, p.In, p.Out)
		}
		seen[s.Name] = true
		special = append(special, s.SpecialTokens...)
		vocab = min(vocab, s.Vocab)
	}
	return p.Prompts(vocab, special)
}
