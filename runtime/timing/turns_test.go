package timing

import (
	"context"
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
