package timing

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"mop/internal/files"
)

// InTurns is a model that takes turns with others.
type InTurns struct {
	Generate Generate
	Divided  *Divided // the device that it was loaded through; nil = each pass is one turn
}

// turnEnd is why a turn ended: the next token of every sequence is known, the pass is not
// finished yet, or the run has failed.
type turnEnd struct {
	token bool
	err   error
}

// turns returns the function that runs a model's next turn. cancel ends the run where no more
// turns are wanted.
func (m InTurns) turns(ctx context.Context, cancel func(), prompts [][]int, out int) (next func() (turnEnd, bool), stop func()) {
	return iter.Pull(func(yield func(turnEnd) bool) {
		defer files.Guard()() // this is a goroutine of its own; its panics reach the one that calls next
		stopped := false
		end := func(e turnEnd) {
			if !stopped && !yield(e) {
				stopped = true
				cancel()
			}
		}
		if m.Divided != nil {
			m.Divided.begin(func() { end(turnEnd{}) })
			defer m.Divided.end()
		}
		if err := m.Generate(ctx, prompts, out, func() { end(turnEnd{token: true}) }); err != nil {
			end(turnEnd{err: err})
		}
	})
}

// MeasureInTurns times one run of each of several models whose passes take turns: prefill
// of every model, then one decode step of every model, and so on, in the reverse order at
// every second step. Long prefill passes are divided into turns themselves where the model
// allows it. Each run has the times of its own turns alone, as if they had followed one
// another.
//
// A machine whose memory other machines share is faster or slower for tenths of seconds at
// a time. Turns that are next to each other see the same speed, so the ratio of such runs
// repeats several times better than that of runs one after the other.
func MeasureInTurns(ctx context.Context, models []InTurns, prompts [][]int, out int, now func() time.Time) ([]Run, error) {
	if now == nil {
		now = time.Now
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	runs, next := make([]Run, len(models)), make([]func() (turnEnd, bool), len(models))
	for i, m := range models {
		var stop func()
		next[i], stop = m.turns(ctx, cancel, prompts, out)
		defer stop()
	}
	start := now()
	for n := range out {
		var waiting []int // for their next token
		for i := range models {
			waiting = append(waiting, i)
		}
		if n%2 == 1 {
			slices.Reverse(waiting)
		}
		took := make([]time.Duration, len(models))
		for len(waiting) > 0 {
			unfinished := waiting[:0]
			for _, i := range waiting {
				before := now()
				end, more := next[i]()
				took[i] += now().Sub(before)
				switch {
				case end.err != nil:
					return nil, end.err
				case !more:
					return nil, fmt.Errorf("want %d tokens, got %d", out, n)
				case !end.token:
					unfinished = append(unfinished, i)
				}
			}
			waiting = unfinished
		}
		for i := range models {
			if n > 0 {
				took[i] += runs[i].Tokens[n-1]
			}
			runs[i].Start = start
			runs[i].Tokens = append(runs[i].Tokens, took[i])
		}
	}
	for i := range models { // what comes after the last token is not timed
		if end, more := next[i](); end.err != nil {
			return nil, end.err
		} else if more {
			return nil, fmt.Errorf("want %d tokens, got %d", out, out+1)
		}
	}
	for _, r := range runs {
		if err := r.check(); err != nil {
			return nil, err
		}
	}
	return runs, nil
}
