package plan

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// spread shares a width step out anew, by scores across the whole model: the
// step's neurons, and the parameters of its heads, are kept as totals, apart
// from each other.
//
// A score is divided by the mean of its layer's scores of that sort, so that
// layers compare, and by the parameters that it would free; the lowest go first,
// equal ones from the earlier layer. What goes together (a KV group; the heads
// or neurons between one multiple and the next) has the mean of its scores. Every
// layer keeps the rule's minimum: one head (two groups by rule groups) and one
// neuron, or one multiple where widths are rounded. Rule groups' one group a
// step is then a total over the layers and not a bound on each.
//
// The carry says what rounding owes to the model: layers keep theirs as the
// uniform step left it, and what the two steps differ by is owed by all alike.
func (s State) spread(dim int, o Options, uniform []loss, scores *Scores) ([]loss, error) {
	var heads, neurons []unit
	var headBudget, neuronBudget, before int64
	for i, l := range s.Layers {
		headBudget += int64(uniform[i].groups) * groupParams(l.Shape, dim)
		neuronBudget += int64(uniform[i].neurons)
		before += uniform[i].params(l.Shape, dim)
		byHead, err := normalised(groupScores(l.Shape.KVHeads, scores.Heads[i]))
		if err != nil {
			return nil, fmt.Errorf("scores: layer %d: head %w", i, err)
		}
		byNeuron, err := normalised(scores.Neurons[i])
		if err != nil {
			return nil, fmt.Errorf("scores: layer %d: neuron %w", i, err)
		}
		shape := l.Shape
		heads = append(heads, units(i, byHead, groupParams(shape, dim), func(left int) int {
			shape.Heads, shape.KVHeads = left*(l.Shape.Heads/max(l.Shape.KVHeads, 1)), left
			return o.groupUnit(shape)
		})...)
		ragged := l.Shape.Intermediate % o.RoundTo
		list := units(i, byNeuron, 1, func(left int) int {
			switch {
			case left <= o.RoundTo:
				return 0
			case left%o.RoundTo > 0:
				return left % o.RoundTo
			}
			return o.RoundTo
		})
		if ragged > 0 && len(list) > 0 {
			list[0].score = math.Inf(-1) // the uniform step makes every width a multiple
		}
		neurons = append(neurons, list...)
	}
	if o.HeadsMultiple > 1 && o.Rule != "groups" {
		for i := range heads { // as with neurons
			if l := s.Layers[heads[i].layer].Shape; heads[i].first && l.KVHeads%o.HeadsMultiple > 0 {
				heads[i].score = math.Inf(-1)
			}
		}
	}
	out := make([]loss, len(uniform))
	for _, u := range lowest(heads, headBudget) {
		out[u.layer].groups += u.n
	}
	for _, u := range lowest(neurons, neuronBudget) {
		out[u.layer].neurons += u.n
	}
	if o.rounds() {
		after := int64(0)
		for i, l := range s.Layers {
			after += out[i].params(l.Shape, dim)
		}
		for i := range out {
			out[i].carry = uniform[i].carry + float64(before-after)/float64(len(out))
		}
	}
	return out, nil
}

// unit is what goes from a layer at once.
type unit struct {
	layer, n int
	first    bool    // of its layer
	cost     int64   // against the budget
	score    float64 // normalised, over the parameters
}

// units cuts a layer's scores, lowest first, into what goes together: next says
// how many of those left go at once, 0 ends. cost is that of one.
func units(layer int, scores []float64, cost int64, next func(left int) int) []unit {
	var out []unit
	order := ascending(scores)
	for n := next(len(order)); n > 0; n = next(len(order)) {
		u := unit{layer: layer, n: n, first: len(out) == 0, cost: int64(n) * cost}
		for _, i := range order[:n] {
			u.score += scores[i]
		}
		u.score /= float64(u.cost)
		out = append(out, u)
		order = order[n:]
	}
	return out
}

// lowest takes units while the budget lasts. A layer's units go in order, so one
// that does not fit ends its layer.
func lowest(all []unit, budget int64) []unit {
	slices.SortStableFunc(all, func(a, b unit) int { return cmp.Compare(a.score, b.score) })
	var out []unit
	ended := map[int]bool{}
	for _, u := range all {
		if u.cost > budget || ended[u.layer] {
			ended[u.layer] = true
			continue
		}
		out = append(out, u)
		budget -= u.cost
	}
	return out
}

// normalised divides by the mean; scores that are all 0 stay.
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
