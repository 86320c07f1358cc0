package timing

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// Each model has the times of its own passes, and the order of the models is reversed at
// every second step.
func TestMeasureInTurns(t *testing.T) {
	clock := time.Unix(0, 0)
	var order []string
	fake := func(name string, first, step time.Duration) Generate {
		return func(_ context.Context, prompts [][]int, out int, token func()) error {
			if len(prompts) != 1 {
				t.Errorf("want the prompt, got %v", prompts)
			}
			for i := range out {
				clock = clock.Add(step)
				if i == 0 {
					clock = clock.Add(first - step)
				}
				order = append(order, name)
				token()
			}
			clock = clock.Add(time.Hour) // after the last token: not timed
			return nil
		}
	}
	runs, err := MeasureInTurns(context.Background(), []Generate{fake("a", 10, 3), fake("b", 7, 2)}, [][]int{{1}}, 3, func() time.Time { return clock })
	if err != nil {
		t.Fatal(err)
	}
	if a, b := []time.Duration{10, 13, 16}, []time.Duration{7, 9, 11}; !slices.Equal(runs[0].Tokens, a) || !slices.Equal(runs[1].Tokens, b) {
		t.Errorf("want %v and %v, got %v", a, b, runs)
	}
	if want := []string{"a", "b", "b", "a", "a", "b"}; !slices.Equal(order, want) {
		t.Errorf("want the order %v, got %v", want, order)
	}
}

// The error of one model ends the others.
func TestMeasureInTurnsRefusesIncompleteRuns(t *testing.T) {
	boom := errors.New("boom")
	clock := time.Unix(0, 0)
	steps := func(n int, tick time.Duration, err error) Generate {
		return func(ctx context.Context, _ [][]int, _ int, token func()) error {
			for range n {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				clock = clock.Add(tick)
				token()
			}
			return err
		}
	}
	ended := false
	other := func(ctx context.Context, _ [][]int, out int, token func()) error {
		err := steps(out, 1, nil)(ctx, nil, 0, token)
		ended = true
		return err
	}
	for want, g := range map[string]Generate{
		"want 4 tokens, got 3":                  steps(3, 1, nil),
		"want 4 tokens, got 5":                  steps(5, 1, nil),
		"the clock did not move between tokens": steps(4, 0, nil),
		"boom":                                  steps(2, 1, boom),
	} {
		ended = false
		if _, err := MeasureInTurns(context.Background(), []Generate{other, g}, nil, 4, func() time.Time { return clock }); err == nil || err.Error() != want {
			t.Errorf("want %q, got %v", want, err)
		}
		if !ended {
			t.Errorf("%s: the other model's run goes on", want)
		}
	}
}
