package plan

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// allocateGlobally divides a width step in another way, by scores across the whole model. The
// total number of neurons and the total parameters of the heads that the uniform step
// removes are kept, apart from each other.
//
// A score is divided by the mean of its layer's scores of the same kind, so that layers
// can be compared, and by the parameters that its removal frees. The lowest scores are
// removed first, and of equal ones those of the earlier layer. Heads or neurons that
// have to be removed together (a KV head with its query heads; those between one
// multiple and the next) have the mean of their scores. Every layer keeps the rule's
// minimum: one KV head (two under rule groups) and one neuron, or one multiple where
// sizes are rounded. The one KV head per step of rule groups is then a total over the
// layers and not a bound for each.
//
// Carries are what rounding still has to remove from the model. Layers have the carry
// that the uniform step left them, plus an equal part of the difference between the two
// steps.
func (s State) allocateGlobally(dim int, o Options, uniform []removal, scores *Scores) ([]removal, error) {
	var heads, neurons []unit
	var headBudget, neuronBudget, before int64
	for i, l := range s.Layers {
		headBudget += int64(uniform[i].kvHeads) * kvHeadParams(l.Shape, dim)
		neuronBudget += int64(uniform[i].neurons)
		before += uniform[i].params(l.Shape, dim)
		byHead, err := normalised(kvHeadScores(l.Shape.KVHeads, scores.Heads[i]))
		if err != nil {
			return nil, fmt.Errorf("scores: layer %d: head %w", i, err)
		}
		byNeuron, err := normalised(scores.Neurons[i])
		if err != nil {
			return nil, fmt.Errorf("scores: layer %d: neuron %w", i, err)
		}
		heads = append(heads, headUnits(i, l.Shape, o, byHead, kvHeadParams(l.Shape, dim))...)
		neurons = append(neurons, neuronUnits(i, l.Shape, o, byNeuron)...)
	}
	removals := make([]removal, len(uniform))
	for _, u := range lowest(heads, headBudget) {
		removals[u.layer].kvHeads += u.count
	}
	for _, u := range lowest(neurons, neuronBudget) {
		removals[u.layer].neurons += u.count
	}
	if o.rounds() {
		after := int64(0)
		for i, l := range s.Layers {
			after += removals[i].params(l.Shape, dim)
		}
		for i := range removals {
			removals[i].carry = uniform[i].carry + float64(before-after)/float64(len(removals))
		}
	}
	return removals, nil
}

// unit is what a layer loses at once.
type unit struct {
	layer, count int
	cost         int64   // against the budget
	score        float64 // normalised, over the cost
}

// headUnits divides a layer's KV heads into units. params is the parameters of one.
func headUnits(layer int, shape Shape, o Options, scores []float64, params int64) []unit {
	perKVHead := shape.Heads / max(shape.KVHeads, 1)
	remaining := shape
	units := divide(layer, scores, params, func(kvHeads int) int {
		remaining.Heads, remaining.KVHeads = kvHeads*perKVHead, kvHeads
		return o.removalUnit(remaining)
	})
	// The uniform step makes the head count a multiple, so the first unit comes first.
	if o.HeadsMultiple > 1 && o.rule().accumulate == nil && len(units) > 0 && shape.KVHeads%o.HeadsMultiple > 0 {
		units[0].score = math.Inf(-1)
	}
	return units
}

// neuronUnits divides a layer's neurons into units.
func neuronUnits(layer int, shape Shape, o Options, scores []float64) []unit {
	units := divide(layer, scores, 1, func(neurons int) int {
		switch {
		case neurons <= o.RoundTo:
			return 0
		case neurons%o.RoundTo > 0:
			return neurons % o.RoundTo
		}
		return o.RoundTo
	})
	// The uniform step makes the intermediate size a multiple, so the first unit comes first.
	if shape.Intermediate%o.RoundTo > 0 && len(units) > 0 {
		units[0].score = math.Inf(-1)
	}
	return units
}

// divide splits a layer's scores, lowest first, into units. next returns how many of the
// remaining ones are removed together, and 0 at the end. cost is that of one.
func divide(layer int, scores []float64, cost int64, next func(remaining int) int) []unit {
	var units []unit
	order := ascending(scores)
	for n := next(len(order)); n > 0; n = next(len(order)) {
		u := unit{layer: layer, count: n, cost: int64(n) * cost}
		for _, i := range order[:n] {
			u.score += scores[i]
		}
		u.score /= float64(u.cost)
		units = append(units, u)
		order = order[n:]
	}
	return units
}

// lowest returns the units with the lowest scores that the budget pays for. The units of
// a layer are removed in order, so one that does not fit ends its layer.
func lowest(all []unit, budget int64) []unit {
	slices.SortStableFunc(all, func(a, b unit) int { return cmp.Compare(a.score, b.score) })
	var taken []unit
	ended := map[int]bool{}
	for _, u := range all {
		if u.cost > budget || ended[u.layer] {
			ended[u.layer] = true
			continue
		}
		taken = append(taken, u)
		budget -= u.cost
	}
	return taken
}

// normalised returns the scores divided by their mean, or unchanged if all are 0.
func normalised(scores []float64) ([]float64, error) {
	mean, out := 0.0, slices.Clone(scores)
	for i, x := range scores {
		if x < 0 {
			return nil, fmt.Errorf("%d: allocation global wants scores of at least 0, got %v", i, x)
		}
		mean += x / float64(len(scores))
	}
	if mean > 0 {
		for i := range out {
			out[i] /= mean
		}
	}
	return out, nil
}
