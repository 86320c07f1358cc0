package timing

import (
	"context"
	"fmt"
	"iter"
	"time"
)

// MeasureInTurns times one run of each of several models whose passes take turns: prefill
// of every model, then one decode step of every model, and so on, in the reverse order at
// every second step. Each run has the times of its own passes alone, as if they had
// followed one another.
//
// A machine whose memory other machines share is faster or slower for tenths of seconds at
// a time. Passes that are next to each other see the same speed, so the ratio of such runs
// repeats several times better than that of runs one after the other.
func MeasureInTurns(ctx context.Context, models []Generate, prompts [][]int, out int, now func() time.Time) ([]Run, error) {
	if now == nil {
		now = time.Now
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	runs, next := make([]Run, len(models)), make([]func() (error, bool), len(models))
	for i, generate := range models {
		var stop func()
		// The iterator yields after every token, and then the error that ended the run.
		next[i], stop = iter.Pull(func(yield func(error) bool) {
			stopped := false
			err := generate(ctx, prompts, out, func() {
				if !stopped && !yield(nil) {
					stopped = true
					cancel()
				}
			})
			if err != nil && !stopped {
				yield(err)
			}
		})
		defer stop()
	}
	start := now()
	for n := range out {
		for j := range models {
			i := j
			if n%2 == 1 {
				i = len(models) - 1 - j
			}
			before := now()
			err, more := next[i]()
			took := now().Sub(before)
			switch {
			case err != nil:
				return nil, err
			case !more:
				return nil, fmt.Errorf("want %d tokens, got %d", out, n)
			}
			if n > 0 {
				took += runs[i].Tokens[n-1]
			}
			runs[i].Start = start
			runs[i].Tokens = append(runs[i].Tokens, took)
		}
	}
	for i := range models { // what comes after the last token is not timed
		if err, more := next[i](); err != nil {
			return nil, err
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
