package plan

import (
	"cmp"
	"fmt"
	"slices"

	"mop/runtime/config"
)

// PruneAcrossLayers removes the heads and neurons with the lowest scores of the whole model,
// from whatever layer, until at least budget parameters are removed, and less than one
// neuron more. The scores of all layers, and of heads and neurons, are compared as they are.
// A KV head goes with its query heads and has the mean of their scores; one that has more
// parameters than are left to remove is passed over. Every layer keeps its best KV head and
// its best neuron. dim is D.
func (s State) PruneAcrossLayers(dim int, budget float64, scores *Scores) (State, error) {
	if err := s.check(scores); err != nil {
		return s, err
	}
	type part struct {
		layer int
		head  bool
		cost  int64
		score float64
	}
	var parts []part
	for i, l := range s.Layers {
		add := func(head bool, cost int64, scores []float64) {
			for _, at := range ascending(scores)[:max(0, len(scores)-1)] {
				parts = append(parts, part{i, head, cost, scores[at]})
			}
		}
		if l.Shape.KVHeads > 0 {
			add(true, kvHeadParams(l.Shape, dim), kvHeadScores(l.Shape.KVHeads, scores.Heads[i]))
		}
		add(false, 3*int64(dim), scores.Neurons[i])
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(a.score, b.score) })
	removals := make([]removal, len(s.Layers))
	removed := 0.0
	for _, p := range parts {
		switch left := budget - removed; {
		case left <= 0 || p.head && float64(p.cost) > left:
			continue
		case p.head:
			removals[p.layer].kvHeads++
		default:
			removals[p.layer].neurons++
		}
		removed += float64(p.cost)
	}
	if removed < budget {
		return s, fmt.Errorf("%w: %.0f parameters are to be removed, %.0f can be", ErrWidth, budget, removed)
	}
	s.Layers = slices.Clone(s.Layers)
	for i := range s.Layers {
		s.Layers[i].shrink(removals[i], scores.Heads[i], scores.Neurons[i])
	}
	return s, nil
}

// AcrossLayersReach is the largest compression of PruneAcrossLayers.
func (s State) AcrossLayersReach(base *config.Config) float64 {
	c := s.Config(base)
	for l, y := range c.Layers {
		if y.KVHeads > 0 {
			c.Layers[l].Heads, c.Layers[l].KVHeads = y.Heads/y.KVHeads, 1
		}
		c.Layers[l].Intermediate = min(y.Intermediate, 1)
	}
	return 1 - float64(c.Params())/float64(base.Params())
}
