package search

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"mop/prune/plan"
	"mop/runtime/config"
)

// genome gives every layer of the base its KV heads and its MLP level.
type genome struct {
	KVHeads []int `json:"kv_heads"` // [L], each with its query heads; 0 = no attention block
	Levels  []int `json:"levels"`   // [L], from 0, no MLP block, to Options.Levels, all neurons
}

func (g genome) clone() genome {
	return genome{slices.Clone(g.KVHeads), slices.Clone(g.Levels)}
}

// key names a genome in files.
func (g genome) key() string {
	return strings.Trim(fmt.Sprint(g.KVHeads), "[]") + "|" + strings.Trim(fmt.Sprint(g.Levels), "[]")
}

// grid are the sizes that a search chooses among: all whole groups of heads, and evenly
// spaced widths of the MLP blocks.
type grid struct {
	layers []config.LayerShape // of the base
	levels int
}

// keepsAttention reports whether attention blocks stay as they are; see AttentionChoices.
func (g grid) keepsAttention(choice string) bool {
	if choice == "" || choice == "auto" {
		return slices.ContainsFunc(g.layers, func(s config.LayerShape) bool { return s.KVHeads < s.Heads })
	}
	return choice == "keep"
}

// width is the number of neurons of a level.
func (g grid) width(l, level int) int { return g.layers[l].Intermediate * level / g.levels }

// shape is the shape of a layer of the base with some of its blocks' parts.
func (g grid) shape(l, kvHeads, level int) config.LayerShape {
	s := g.layers[l]
	if s.KVHeads > 0 {
		s.Heads = kvHeads * (s.Heads / s.KVHeads)
	}
	s.KVHeads = kvHeads
	s.Intermediate = g.width(l, level)
	return s
}

// shapes are those of all layers.
func (g grid) shapes(x genome) []config.LayerShape {
	out := make([]config.LayerShape, len(x.Levels))
	for l := range out {
		out[l] = g.shape(l, x.KVHeads[l], x.Levels[l])
	}
	return out
}

// dense is the genome of the base.
func (g grid) dense() genome {
	var x genome
	for _, s := range g.layers {
		x.KVHeads, x.Levels = append(x.KVHeads, s.KVHeads), append(x.Levels, g.levels)
	}
	return x
}

// state lists which heads and neurons a genome keeps: those with the highest scores.
func (r *run) state(g genome) plan.State {
	s := plan.New(r.base.Config())
	for l := range s.Layers {
		x := &s.Layers[l]
		base := x.Shape
		x.Shape = r.shape(l, g.KVHeads[l], g.Levels[l])
		x.KVHeads = slices.Sorted(slices.Values(r.headOrder[l][:x.Shape.KVHeads]))
		x.Neurons = slices.Sorted(slices.Values(r.neuronOrder[l][:x.Shape.Intermediate]))
		x.Heads = []int{}
		for _, k := range x.KVHeads {
			per := base.Heads / base.KVHeads
			for q := range per {
				x.Heads = append(x.Heads, k*per+q)
			}
		}
		if x.KVHeads == nil {
			x.KVHeads = []int{}
		}
		if x.Neurons == nil {
			x.Neurons = []int{}
		}
	}
	return s
}

// orders sorts KV heads and neurons by their scores, the highest first and of equal ones
// the one with the higher index, as a width step keeps them.
func orders(c *config.Config, scores *plan.Scores) (heads, neurons [][]int) {
	for l, s := range c.Layers {
		byHead := make([]float64, s.KVHeads)
		for k := range byHead {
			per := s.Heads / s.KVHeads
			for q := range per {
				byHead[k] += scores.Heads[l][k*per+q] / float64(per)
			}
		}
		heads, neurons = append(heads, descending(byHead)), append(neurons, descending(scores.Neurons[l]))
	}
	return heads, neurons
}

func descending(scores []float64) []int {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(scores[b], scores[a]), cmp.Compare(b, a)) })
	return order
}
