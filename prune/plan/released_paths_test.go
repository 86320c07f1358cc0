package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"mop/runtime/config"
)

func preset(t *testing.T, name string) *config.Config {
	t.Helper()
	c, err := config.Preset(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func dry(t *testing.T, c *config.Config, o Options, sequence string) *Plan {
	t.Helper()
	kinds, err := ParseSequence(sequence)
	if err != nil {
		t.Fatal(err)
	}
	p, err := DryRun(c, o, Sequence(kinds), 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// uniform returns the shape of all layers, which must be equal.
func uniform(t *testing.T, shapes []Shape) Shape {
	t.Helper()
	for l, s := range shapes {
		if s != shapes[0] {
			t.Fatalf("layer %d: %+v, layer 0 %+v", l, s, shapes[0])
		}
	}
	return shapes[0]
}

// Every integer of the path tables of the released runs.
func TestReleasedPaths(t *testing.T) {
	type row struct {
		step, layers, heads, mlp int
		params                   int64
		percent                  string
	}
	for _, c := range []struct {
		preset, rule string
		base         int64
		rows         []row
	}{
		{"llama-2-7b", "paper", 6_738_415_616, []row{{7, 28, 29, 9941, 5_385_605_120, "20.08"}, {11, 26, 27, 9217, 4_679_282_688, "30.56"}, {15, 23, 26, 8848, 4_017_090_560, "40.39"}}},
		{"llama-3-8b", "mlp-only", 8_030_261_248, []row{{8, 28, 32, 12043, 6_368_874_496, "20.69"}, {12, 25, 32, 11449, 5_616_590_848, "30.06"}, {17, 23, 32, 9641, 4_740_333_568, "40.97"}}},
	} {
		t.Run(c.preset, func(t *testing.T) {
			p := dry(t, preset(t, c.preset), Options{Rule: c.rule}, Released1)
			if p.Base.Params != c.base {
				t.Errorf("base: want %d parameters, got %d", c.base, p.Base.Params)
			}
			for _, r := range c.rows {
				s := p.Steps[r.step-1]
				y := uniform(t, s.Shapes)
				if got := (row{r.step, len(s.Shapes), y.Heads, y.Intermediate, s.Params, fmt.Sprintf("%.2f", 100*s.Compression)}); got != r {
					t.Errorf("want %+v\ngot  %+v", r, got)
				}
			}
		})
	}
}

// The paper's LLaVA figures, 7.06 B to 5.71 B in seven steps, count the vision
// tower: CLIP ViT-L/14 at 336 pixels and the projector beside the language model.
func TestLLaVA(t *testing.T) {
	const tower = 303_507_456 + (1024*4096 + 4096) + (4096*4096 + 4096)
	c := preset(t, "llama-2-7b") // vocabulary 32000, as in the released runs
	p := dry(t, c, Options{Rule: "paper"}, Released1)
	for step, want := range map[int]string{0: "7.06", 7: "5.71"} {
		shapes, err := p.LayerShapes(step)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%.2f", float64(p.Base.count(shapes)+tower)/1e9); got != want {
			t.Errorf("step %d: want %s B, got %s B", step, want, got)
		}
	}
}

type golden struct {
	Paths []struct {
		Options
		Model    string     `json:"model"`
		Sequence string     `json:"sequence"`
		Groups   float64    `json:"groups"` // the accumulator at the end
		Rows     [][5]int64 `json:"rows"`   // L, H, K, I, params
	} `json:"paths"`
	Mixed []struct {
		Options
		Dim     int        `json:"d_model"`
		HeadDim int        `json:"head_dim"`
		Layers  [][3]int   `json:"layers"` // H, K, I
		Steps   [][][3]int `json:"steps"`
	} `json:"mixed"`
	Coins map[uint64]string `json:"coins"` // seed -> path
}

// paths.json is the output of testdata/paths.py, an independent program.
func readGolden(t *testing.T) golden {
	t.Helper()
	data, err := os.ReadFile("testdata/paths.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// Every released sequence by every rule, with and without rounding, step by step.
func TestPathsGolden(t *testing.T) {
	for _, c := range readGolden(t).Paths {
		t.Run(fmt.Sprintf("%s/%s/%d/%d/%s", c.Model, c.Rule, c.RoundTo, c.HeadsMultiple, c.Sequence), func(t *testing.T) {
			p := dry(t, preset(t, c.Model), c.Options, c.Sequence)
			if len(p.Steps) != len(c.Rows) {
				t.Fatalf("want %d steps, got %d", len(c.Rows), len(p.Steps))
			}
			for i, s := range p.Steps {
				y := uniform(t, s.Shapes)
				if got := [5]int64{int64(len(s.Shapes)), int64(y.Heads), int64(y.KVHeads), int64(y.Intermediate), s.Params}; got != c.Rows[i] {
					t.Fatalf("step %d: want %v, got %v", i+1, c.Rows[i], got)
				}
			}
			s := newWithoutIndices(preset(t, c.Model))
			for _, step := range p.Steps {
				var err error
				if step.Kind == Depth {
					s, err = s.PruneDepth()
				} else {
					s, err = s.PruneWidth(p.Base.HiddenSize, c.Options, 0, nil)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if s.Groups != c.Groups {
				t.Errorf("groups: want %v, got %v", c.Groups, s.Groups)
			}
		})
	}
}

// Width steps of models whose layers differ and lack blocks, layer by layer.
func TestMixedGolden(t *testing.T) {
	for n, c := range readGolden(t).Mixed {
		s := State{}
		for l, y := range c.Layers {
			s.Layers = append(s.Layers, Layer{From: l, Shape: Shape{Heads: y[0], KVHeads: y[1], HeadDim: c.HeadDim, Intermediate: y[2]}})
		}
		before := c.Layers
		for k, want := range c.Steps {
			next, err := s.PruneWidth(c.Dim, c.Options, 0, nil)
			switch {
			case errors.Is(err, ErrWidth):
				if !slices.Equal(want, before) {
					t.Fatalf("case %d: step %d: %v, but want %v", n, k+1, err, want)
				}
			case err != nil:
				t.Fatalf("case %d: step %d: %v", n, k+1, err)
			default:
				s = next
			}
			for l, y := range s.Shapes() {
				if got := [3]int{y.Heads, y.KVHeads, y.Intermediate}; got != want[l] {
					t.Fatalf("case %d %+v: step %d: layer %d: want %v, got %v", n, c.Options, k+1, l, want[l], got)
				}
			}
			before = want
		}
	}
}
