package sweep

import (
	"fmt"
	"slices"
	"strings"

	"mop/runtime/config"
)

// Quantities are the values of Options.What.
func Quantities() []string {
	return []string{"mlp", "heads", "kv", "layers", "batch", "context", "prompt"}
}

// ParseWhat reads quantities with commas between them; "all" stands for all of them.
func ParseWhat(text string) ([]string, error) {
	if text == "all" {
		return Quantities(), nil
	}
	var out []string
	for name := range strings.SplitSeq(text, ",") {
		if !slices.Contains(Quantities(), name) {
			return nil, fmt.Errorf("what: want all, or some of %s with commas between them, got %q", strings.Join(Quantities(), ", "), name)
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out, nil
}

// widest is the largest shape of the base's layers.
func widest(c *config.Config) config.LayerShape {
	s := config.LayerShape{HeadDim: c.HeadDim}
	for _, l := range c.Layers {
		if l.Heads > s.Heads {
			s.Heads, s.KVHeads = l.Heads, l.KVHeads
		}
		s.Intermediate = max(s.Intermediate, l.Intermediate)
	}
	return s
}

// coarseWidths are nine MLP widths, from a sixteenth to all neurons.
func coarseWidths(most int) []int {
	var out []int
	for _, sixteenths := range []int{1, 2, 4, 6, 8, 10, 12, 14, 16} {
		out = append(out, max(1, most*sixteenths/16))
	}
	return sorted(out, most)
}

// fineWidths are the coarse ones, even steps of multiples of 64, and the surroundings of
// three round widths, close enough to show tiles and alignment.
func fineWidths(most int) []int {
	out := coarseWidths(most)
	step := max(1, (most/24+63)/64*64)
	for w := step; w <= most; w += step {
		out = append(out, w)
	}
	for _, tenths := range []int{4, 6, 9} {
		center := most * tenths / 10
		if center > 256 {
			center = center / 128 * 128
		}
		for _, offset := range []int{0, 1, 2, 4, 8, 16, 32, 64} {
			out = append(out, center-offset, center+offset)
		}
		for _, offset := range []int{9, 17, 33, 63} {
			out = append(out, center-offset, center+offset)
		}
	}
	return sorted(out, most)
}

// sorted returns the values from 1 to most, ascending, each once.
func sorted(values []int, most int) []int {
	values = slices.DeleteFunc(values, func(v int) bool { return v < 1 || v > most })
	slices.Sort(values)
	return slices.Compact(values)
}

// headShapes are attention shapes with whole groups of query heads, at most limit of
// them, evenly spaced.
func headShapes(s config.LayerShape, limit int) []config.LayerShape {
	if s.KVHeads == 0 {
		return nil
	}
	var kv []int
	for i := range min(limit, s.KVHeads) {
		kv = append(kv, (i+1)*s.KVHeads/min(limit, s.KVHeads))
	}
	var out []config.LayerShape
	for _, k := range sorted(kv, s.KVHeads) {
		out = append(out, config.LayerShape{Heads: k * (s.Heads / s.KVHeads), KVHeads: k, HeadDim: s.HeadDim})
	}
	return out
}

// kvShapes are attention shapes with all query heads and every number of KV heads that
// can be shared evenly.
func kvShapes(s config.LayerShape) []config.LayerShape {
	var out []config.LayerShape
	for k := 1; k <= s.Heads; k++ {
		if s.Heads%k == 0 {
			out = append(out, config.LayerShape{Heads: s.Heads, KVHeads: k, HeadDim: s.HeadDim})
		}
	}
	return out
}

// setting is a batch and the length of its prompts.
type setting struct {
	Batch int `json:"batch"`
	In    int `json:"in"`
	Out   int `json:"out"`
}

func (s setting) String() string { return fmt.Sprintf("batch %d, %d in", s.Batch, s.In) }

// outTokens are the tokens that a run generates: enough decode steps for a median.
const outTokens = 9

// baseIn is the prompt of the settings that vary something else: that of the paper.
const baseIn = 12

// settingsOf lists the settings of the quantities that were asked for; the base comes
// first.
func settingsOf(c *config.Config, what []string) []setting {
	in := min(baseIn, max(1, c.MaxPositions-outTokens))
	out := []setting{{1, in, outTokens}}
	add := func(batch, in int) {
		s := setting{batch, in, outTokens}
		if in+outTokens <= c.MaxPositions && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if slices.Contains(what, "prompt") || slices.Contains(what, "context") {
		for _, n := range []int{1, 32, 64, 128, 256, 512} {
			add(1, n)
		}
	}
	if slices.Contains(what, "context") {
		add(1, 1024)
	}
	if slices.Contains(what, "batch") {
		for _, b := range []int{2, 4, 8, 16} {
			add(b, in)
		}
	}
	return out
}
