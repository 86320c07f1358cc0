package finetune

import (
	"fmt"
	"testing"

	"mop/runtime/dataset"
)

// A pass takes consecutive examples while they fit, at least one; without a limit it takes
// one. Each example keeps its labels and its weight in the loss, however passes are cut.
func TestPasses(t *testing.T) {
	var examples []dataset.Example
	for _, n := range []int{5, 3, 9, 2, 2, 2} {
		examples = append(examples, dataset.Example{Tokens: make([]int32, n), FirstTarget: 1})
	}
	batch := []int{0, 1, 2, 3, 4, 5}
	for _, c := range []struct {
		tokens int
		pack   bool
		want   string
	}{{0, false, "[[5] [3] [9] [2] [2] [2]]"}, {1, false, "[[5] [3] [9] [2] [2] [2]]"}, {8, false, "[[5 3] [9] [2 2 2]]"}, {100, false, "[[5 3 9 2 2 2]]"}, {0, true, "[[5 3] [9] [2 2 2]]"}} {
		o := Options{PassTokens: c.tokens, Packing: c.pack, MaxLength: 8, Batch: 6, Average: Examples}
		var lengths [][]int
		longest := 0
		for _, pass := range passes(examples, batch, &o, 0) {
			var of []int
			rows := 0
			for _, q := range pass {
				of = append(of, len(q.Tokens))
				rows += len(q.Tokens)
				if want := float32(1 / (float64(len(q.Tokens)-1) * 6)); q.Scale != want {
					t.Errorf("%d tokens: want a scale of %v, got %v", len(q.Tokens), want, q.Scale)
				}
			}
			lengths, longest = append(lengths, of), max(longest, rows)
		}
		if got := fmt.Sprint(lengths); got != c.want {
			t.Errorf("%+v: want %s, got %s", c, c.want, got)
		}
		if n := longestPass(examples, &o); n < longest {
			t.Errorf("%+v: want room for %d tokens, got %d", c, longest, n)
		}
	}
}
