package plan

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// removal is what one layer loses in a width step.
type removal struct {
	kvHeads int     // each with its query heads
	neurons int     //
	carry   float64 // the new Layer.Carry
}

// params counts the removed parameters. Norms stay, since no step empties a block.
func (r removal) params(s Shape, dim int) int64 {
	return int64(r.kvHeads)*kvHeadParams(s, dim) + 3*int64(r.neurons)*int64(dim)
}

// kvHeadParams is (2*H/K + 2)*Dh*D, the parameters of one KV head and its query heads
// in q, k, v and o; 0 without heads.
func kvHeadParams(s Shape, dim int) int64 {
	if s.KVHeads == 0 {
		return 0
	}
	return s.AttentionParams(dim) / int64(s.KVHeads)
}

// LayerBudget is P, the parameters that a step removes: those of layer L-3 with its
// norms, so that both candidates lose the same. With fewer than three layers it is the
// first layer.
func (s State) LayerBudget(dim int) float64 { return float64(s.layerBudget(dim)) }

func (s State) layerBudget(dim int) int64 {
	return s.Layers[max(len(s.Layers)-3, 0)].Shape.Params(dim)
}

// stepRemovals applies the rule to every layer for the budget P. It returns what each
// layer loses and the new State.Groups. The error is ErrWidth if nothing is removed and
// repeating the step would not change that.
//
// With rounding to multiples, a layer's carry is added to its P/L. H is rounded first,
// to the multiple nearest to the rule's unrounded H, and then I to the multiple nearest
// to the rule's unrounded I for the heads that are really removed. Ties go down. A
// layer never grows; it keeps one multiple, or what it has where that is less. The new
// carry is P/L plus the old carry, less what is removed.
func (s State) stepRemovals(dim int, o Options) ([]removal, float64, error) {
	budget, layers := s.layerBudget(dim), int64(len(s.Layers))
	params := make([]float64, layers)
	ratios := make([]float64, layers)
	total := float64(budget)
	for i, l := range s.Layers {
		params[i] = float64(budget) / float64(layers)
		own := l.Shape.AttentionParams(dim) + l.Shape.MLPParams(dim)
		if own > 0 {
			ratios[i] = float64(budget) / float64(layers*own)
		}
		if o.rounds() {
			params[i] += l.Carry
			total += l.Carry
			if own > 0 {
				ratios[i] = params[i] / float64(own)
			}
		}
	}
	rule := o.rule()
	kvHeads, groups := make([]int, layers), s.Groups
	if rule.accumulate != nil {
		kvHeads, groups = rule.accumulate(s, dim, o, budget, total)
	}
	removals := make([]removal, layers)
	var removed int64
	for i, l := range s.Layers {
		b := layerBudget{options: o, shape: l.Shape, dim: dim, params: params[i], ratio: ratios[i]}
		r := &removals[i]
		r.kvHeads = kvHeads[i]
		if rule.kvHeads != nil {
			r.kvHeads = rule.kvHeads(b)
		}
		r.neurons = b.neurons(r.kvHeads)
		if o.rounds() {
			r.carry = params[i] - float64(r.params(l.Shape, dim))
		}
		removed += r.params(l.Shape, dim)
	}
	if removed == 0 && (budget == 0 || !s.accumulates(o)) {
		return nil, 0, ErrWidth
	}
	return removals, groups, nil
}

// accumulates reports whether steps that remove nothing add up to one that does.
func (s State) accumulates(o Options) bool {
	for _, l := range s.Layers {
		if o.rounds() && o.narrowest(l.Shape) != l.Shape || o.rule().accumulate != nil && o.removalUnit(l.Shape) > 0 {
			return true
		}
	}
	return false
}

// targetRemovals is the width step that ends at an exact target. It removes at least
// budget parameters, and exceeds the budget by less than one neuron (one multiple of
// RoundTo) per layer. What a layer cannot give is removed from the others. Neurons are
// counted by their parameters under every rule, and a layer without neurons gives whole
// heads. The old carries are ignored, since the budget is what really remains; the new
// ones hold what was removed too much.
func (s State) targetRemovals(dim int, o Options, budget float64) ([]removal, float64, error) {
	if !(budget > 0) || math.IsInf(budget, 1) {
		return nil, 0, fmt.Errorf("width: want a budget above 0, got %v", budget)
	}
	rule := o.rule()
	kvHeads, groups := s.targetKVHeads(dim, o, budget)
	capacity := make([]float64, len(s.Layers)) // parameters that each layer can lose
	for i, l := range s.Layers {
		narrowest := o.narrowest(l.Shape)
		most := removal{kvHeads: l.Shape.KVHeads - narrowest.KVHeads, neurons: l.Shape.Intermediate - narrowest.Intermediate}
		if rule.accumulate != nil {
			most.kvHeads = kvHeads[i]
		}
		capacity[i] = float64(most.params(l.Shape, dim))
	}
	params, ok := distribute(capacity, budget)
	if !ok {
		sum := 0.0
		for _, c := range capacity {
			sum += c
		}
		return nil, 0, fmt.Errorf("%w: %.0f parameters are to be removed, %.0f can be", ErrWidth, budget, sum)
	}
	removals := make([]removal, len(s.Layers))
	for i, l := range s.Layers {
		if params[i] <= 0 {
			continue
		}
		own := float64(l.Shape.AttentionParams(dim) + l.Shape.MLPParams(dim))
		b := layerBudget{options: o, shape: l.Shape, dim: dim, params: params[i], ratio: params[i] / own, atLeast: true}
		r := &removals[i]
		r.kvHeads = kvHeads[i]
		if rule.kvHeads != nil {
			r.kvHeads = b.affordableKVHeads()
		}
		r.neurons = b.neurons(r.kvHeads)
		if o.rounds() {
			r.carry = params[i] - float64(r.params(l.Shape, dim))
		}
	}
	return removals, groups, nil
}

// targetKVHeads returns the KV heads that each layer loses by the accumulator, and the
// accumulator's new value. No KV heads are removed if the budget does not pay for them.
func (s State) targetKVHeads(dim int, o Options, budget float64) ([]int, float64) {
	none := make([]int, len(s.Layers))
	accumulate := o.rule().accumulate
	if accumulate == nil {
		return none, s.Groups
	}
	o.RoundTo = 1
	kvHeads, groups := accumulate(s, dim, o, int64(budget), budget)
	cost := 0.0
	for i, l := range s.Layers {
		cost += float64(int64(kvHeads[i]) * kvHeadParams(l.Shape, dim))
	}
	if cost > budget {
		return none, s.Groups
	}
	return kvHeads, groups
}

// distribute divides a budget evenly over the layers, none above its capacity. It
// returns false if the budget exceeds all capacities together.
func distribute(capacity []float64, budget float64) ([]float64, bool) {
	parts := make([]float64, len(capacity))
	order := upTo(len(capacity))
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(capacity[a], capacity[b]) })
	for n, i := range order {
		even := budget / float64(len(order)-n)
		if capacity[i] > even {
			for _, j := range order[n:] {
				parts[j] = even // one value, so that equal layers stay equal
			}
			return parts, true
		}
		parts[i] = capacity[i]
		budget -= capacity[i]
	}
	return parts, budget < 0.5
}
