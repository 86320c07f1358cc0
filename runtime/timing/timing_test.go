package timing

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// A fake model moves a fake clock: each token has exactly the time that it took, and
// what happens after the last token is not timed.
func TestMeasure(t *testing.T) {
	clock := time.Unix(0, 0)
	g := func(_ context.Context, prompts [][]int, out int, step func()) error {
		if len(prompts) != 2 {
			t.Errorf("want both prompts, got %v", prompts)
		}
		for i := range out {
			clock = clock.Add(time.Duration(10-i) * time.Millisecond)
			step()
		}
		clock = clock.Add(time.Hour)
		return nil
	}
	r, err := Measure(context.Background(), g, [][]int{{1, 2}, {3}}, 3, func() time.Time { return clock })
	want := []time.Duration{10 * time.Millisecond, 19 * time.Millisecond, 27 * time.Millisecond}
	if err != nil || !r.Start.Equal(time.Unix(0, 0)) || !slices.Equal(r.Tokens, want) || r.TTFT() != want[0] || r.Total() != want[2] {
		t.Errorf("want %v, got %+v, %v", want, r, err)
	}
}

// A run that is not complete is an error, alone and in turns with another one, which then
// ends too.
func TestMeasureRefusesIncompleteRuns(t *testing.T) {
	boom := errors.New("boom")
	clock := time.Unix(0, 0)
	now := func() time.Time { return clock }
	steps := func(n int, tick time.Duration, err error) Generate {
		return func(ctx context.Context, _ [][]int, _ int, step func()) error {
			for range n {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				clock = clock.Add(tick)
				step()
			}
			return err
		}
	}
	for want, g := range map[string]Generate{
		"want 4 tokens, got 3":                  steps(3, 1, nil),
		"want 4 tokens, got 5":                  steps(5, 1, nil),
		"the clock did not move between tokens": steps(4, 0, nil),
		"boom":                                  steps(2, 1, boom),
	} {
		if _, err := Measure(context.Background(), g, nil, 4, now); err == nil || err.Error() != want {
			t.Errorf("want %q, got %v", want, err)
		}
		ended := false
		other := func(ctx context.Context, prompts [][]int, out int, step func()) error {
			err := steps(out, 1, nil)(ctx, prompts, out, step)
			ended = true
			return err
		}
		if _, err := MeasureInTurns(context.Background(), []InTurns{{Generate: other}, {Generate: g}}, nil, 4, now); err == nil || err.Error() != want || !ended {
			t.Errorf("in turns: want %q and the end of the other run, got %v, %v", want, err, ended)
		}
	}
}
