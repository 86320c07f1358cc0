package plan

import (
	"fmt"
	"testing"

	"mop/runtime/config"
)

// The path tables of the paper's released runs, every integer.
func TestReleasedPaths(t *testing.T) {
	type row struct {
		step, layers, heads, mlp int
		params                   int64
		percent                  string
	}
	for _, c := range []struct {
		preset, rule string
		rows         []row
	}{
		{"llama-2-7b", "paper", []row{{7, 28, 29, 9941, 5_385_605_120, "20.08"}, {11, 26, 27, 9217, 4_679_282_688, "30.56"}, {15, 23, 26, 8848, 4_017_090_560, "40.39"}}},
		{"llama-3-8b", "mlp-only", []row{{8, 28, 32, 12043, 6_368_874_496, "20.69"}, {12, 25, 32, 11449, 5_616_590_848, "30.06"}, {17, 23, 32, 9641, 4_740_333_568, "40.97"}}},
	} {
		t.Run(c.preset, func(t *testing.T) {
			base, err := config.Preset(c.preset)
			if err != nil {
				t.Fatal(err)
			}
			kinds, err := ParseSequence(Released()[0])
			if err != nil {
				t.Fatal(err)
			}
			p, err := Dry(base, Options{Rule: c.rule}, Sequence(kinds), 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range c.rows {
				s := p.Steps[r.step-1]
				got := row{r.step, len(s.Shapes), s.Shapes[0].Heads, s.Shapes[0].MLP, s.Params, fmt.Sprintf("%.2f", 100*s.Compression)}
				if got != r {
					t.Errorf("want %+v\ngot  %+v", r, got)
				}
			}
		})
	}
}
