package latency

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// Progress is what is known after each run.
type Progress struct {
	Done, Total int // runs, of all models together, discarded ones included
	Sample      Sample
}

// Options are what a caller may hang onto a measurement; the zero value is
// the normal one.
type Options struct {
	Progress func(Progress) error // called after each run, outside its time; an error ends the measurement
	Now      func() time.Time     // the clock; nil = time.Now, which is monotonic
	// OtherLoad is cumulative processor time of others; nil = not known.
	OtherLoad func() (others, steal time.Duration, ok bool)
	// More is asked after the protocol's last round, and after every round that
	// follows, whether to do one more; nil = never. Who computes rows must set
	// the protocol's Runs to the number of rounds that were done.
	More func(rounds int, samples []Sample) bool
}

// Measure runs every subject once a round, in an order shuffled anew for each
// round, and returns the samples in the order in which they were taken,
// discarded ones flagged. On an error, or when ctx ends, the samples so far
// come with it.
//
// A garbage collection goes before each run, outside its time, so that no
// model pays for what another left behind.
func Measure(ctx context.Context, p Protocol, subjects []Model, o Options) ([]Sample, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	prompts, err := commonPrompts(p, subjects)
	if err != nil {
		return nil, err
	}
	now := o.Now
	if now == nil {
		now = time.Now
	}
	order := make([]int, len(subjects))
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
			start, tokens, err := run(ctx, subjects[i], prompts, p.Out, now)
			if err != nil {
				return samples, fmt.Errorf("bench: %s: round %d: %w", subjects[i].Name, round, err)
			}
			othersAfter, stealAfter := o.load()
			samples = append(samples, Sample{
				Model:     subjects[i].Name,
				Round:     round,
				Position:  position,
				Discarded: round < p.Discard,
				Start:     start.Sub(begin),
				Total:     tokens[len(tokens)-1],
				TTFT:      tokens[0],
				Others:    othersAfter - others,
				Steal:     stealAfter - steal,
				Tokens:    tokens,
			})
			if o.Progress != nil {
				if err := o.Progress(Progress{Done: len(samples), Total: max(p.Runs, round+1) * len(subjects), Sample: samples[len(samples)-1]}); err != nil {
					return samples, err
				}
			}
		}
	}
	return samples, nil
}

func (o Options) load() (others, steal time.Duration) {
	if o.OtherLoad != nil {
		others, steal, _ = o.OtherLoad()
	}
	return others, steal
}

// run times one run: when it started, and how long after that each id came.
func run(ctx context.Context, s Model, prompts [][]int, out int, now func() time.Time) (time.Time, []time.Duration, error) {
	at := make([]time.Time, 0, min(out, 1<<12))
	start := now()
	if err := s.Run(ctx, prompts, out, func() { at = append(at, now()) }); err != nil {
		return start, nil, err
	}
	if len(at) != out {
		return start, nil, fmt.Errorf("want %d ids, got %d", out, len(at))
	}
	tokens := make([]time.Duration, out)
	for i, t := range at {
		tokens[i] = t.Sub(start)
	}
	// Rates and ratios divide by these.
	if tokens[0] <= 0 || (out > 1 && tokens[out-1] <= tokens[0]) {
		return start, nil, errors.New("the clock did not move between ids")
	}
	return start, tokens, nil
}

// commonPrompts checks the subjects and draws the prompts that fit them all.
func commonPrompts(p Protocol, subjects []Model) ([][]int, error) {
	if len(subjects) == 0 {
		return nil, errors.New("bench: no model given")
	}
	var special []int
	vocab := subjects[0].Vocab
	seen := map[string]bool{}
	for _, s := range subjects {
		switch {
		case seen[s.Name]:
			return nil, fmt.Errorf("bench: %s: given twice", s.Name)
		case s.Context > 0 && p.In > s.Context+1-p.Out: // the last id out is never fed back
			return nil, fmt.Errorf("bench: %s: context is %d ids, got %d in and %d out", s.Name, s.Context, p.In, p.Out)
		}
		seen[s.Name] = true
		special = append(special, s.SpecialTokens...)
		vocab = min(vocab, s.Vocab)
	}
	return p.Prompts(vocab, special)
}
