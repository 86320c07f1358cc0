//go:build cuda

package driver

import (
	"errors"
	"time"

	"gorgonia.org/cu"
)

var _ Timer = (*GPU)(nil)

// timing holds a pair of events for each launch.
type timing struct {
	events [][2]cu.Event
	n      int // pairs that were recorded
}

// time records an event before and after f.
func (t *timing) time(s *cu.Stream, f func() error) error {
	if t.n == len(t.events) {
		var pair [2]cu.Event
		for i := range pair {
			var err error
			if pair[i], err = cu.MakeEvent(cu.DefaultEvent); err != nil {
				return err
			}
		}
		t.events = append(t.events, pair)
	}
	pair := &t.events[t.n]
	if err := pair[0].Record(*s); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	t.n++
	return pair[1].Record(*s)
}

// StartTiming: see Timer.
func (g *GPU) StartTiming() error {
	if g.timing != nil {
		return errors.New("launches are timed already")
	}
	g.timing = &timing{}
	return nil
}

// ClearTimed: see Timer.
func (g *GPU) ClearTimed(p Pointer, bytes int64) error {
	return g.do(func() error {
		return g.timing.time(&g.stream, func() error { return g.clear(p, bytes) })
	})
}

// StopTiming: see Timer.
func (g *GPU) StopTiming() ([]time.Duration, error) {
	t := g.timing
	if t == nil {
		return nil, errors.New("launches are not timed")
	}
	g.timing = nil
	var times []time.Duration
	err := g.do(func() error {
		err := g.stream.Synchronize()
		for i := range t.events {
			if i < t.n && err == nil {
				var took time.Duration
				took, err = elapsed(&t.events[i][0], &t.events[i][1])
				times = append(times, took)
			}
			for j := range t.events[i] {
				err = errors.Join(err, cu.DestroyEvent(&t.events[i][j]))
			}
		}
		return err
	})
	return times, err
}
