package plan

import (
	"cmp"
	"fmt"
	"slices"
)

// Scores are the importance scores of the current model. The lowest are removed first.
type Scores struct {
	Heads   [][]float64 `json:"heads"` // [L][H] query heads
	Neurons [][]float64 `json:"mlp"`   // [L][I]
}

// PruneWidth makes one width step by the options' rule. dim is D. With budget 0 the step
// removes about the parameters of layer L-3. Any other budget is met: at least that
// many parameters are removed, and at most one neuron (one multiple of RoundTo) per
// layer more. This is the step that ends at an exact target. Without scores, the new
// state has sizes only.
func (s State) PruneWidth(dim int, o Options, budget float64, scores *Scores) (State, error) {
	o, err := o.Resolve(s)
	if err != nil {
		return s, err
	}
	var removals []removal
	var groups float64
	if budget == 0 {
		removals, groups, err = s.stepRemovals(dim, o)
	} else {
		removals, groups, err = s.targetRemovals(dim, o, budget)
	}
	if err != nil {
		return s, err
	}
	if scores != nil {
		if err := s.check(scores); err != nil {
			return s, err
		}
	}
	if o.Allocation == Global {
		if scores == nil {
			return s, errNoScores
		}
		if removals, err = s.allocateGlobally(dim, o, removals, scores); err != nil {
			return s, err
		}
	}
	s.Layers = slices.Clone(s.Layers)
	s.Groups = groups
	for i := range s.Layers {
		l, r := &s.Layers[i], removals[i]
		l.Carry = r.carry
		if scores == nil {
			l.Heads, l.KVHeads, l.Neurons = nil, nil, nil
			l.shrinkShape(r)
		} else {
			l.shrink(r, scores.Heads[i], scores.Neurons[i])
		}
	}
	return s, nil
}

// shrink removes the heads and neurons with the lowest scores.
func (l *Layer) shrink(r removal, heads, neurons []float64) {
	l.remove(r, heads, neurons)
	l.shrinkShape(r)
}

func (l *Layer) shrinkShape(r removal) {
	if l.Shape.KVHeads > 0 {
		l.Shape.Heads -= r.kvHeads * (l.Shape.Heads / l.Shape.KVHeads)
		l.Shape.KVHeads -= r.kvHeads
	}
	l.Shape.Intermediate -= r.neurons
}

// check refuses scores that are not one finite number for every head and neuron.
func (s State) check(scores *Scores) error {
	if len(scores.Heads) != len(s.Layers) || len(scores.Neurons) != len(s.Layers) {
		return fmt.Errorf("scores: want %d layers, got %d and %d", len(s.Layers), len(scores.Heads), len(scores.Neurons))
	}
	for i, l := range s.Layers {
		if len(l.Heads) != l.Shape.Heads || len(l.Neurons) != l.Shape.Intermediate {
			return fmt.Errorf("scores: layer %d: the state has only its sizes, not which heads and neurons it keeps", i)
		}
		if len(scores.Heads[i]) != l.Shape.Heads || len(scores.Neurons[i]) != l.Shape.Intermediate {
			return fmt.Errorf("scores: layer %d: want %d heads and %d neurons, got %d and %d", i, l.Shape.Heads, l.Shape.Intermediate, len(scores.Heads[i]), len(scores.Neurons[i]))
		}
		for what, list := range map[string][]float64{"head": scores.Heads[i], "neuron": scores.Neurons[i]} {
			if at := slices.IndexFunc(list, func(x float64) bool { return !finite(x) }); at >= 0 {
				return fmt.Errorf("scores: layer %d: %s %d: want a finite number, got %v", i, what, at, list[at])
			}
		}
	}
	return nil
}

// remove deletes the heads and neurons with the lowest scores from the index lists. Of
// equal scores, the one with the lower index is removed first. The score of a KV head is
// the mean of its query heads' scores.
func (l *Layer) remove(r removal, heads, neurons []float64) {
	if r.kvHeads > 0 {
		kvHeads := ascending(kvHeadScores(l.Shape.KVHeads, heads))[:r.kvHeads]
		slices.Sort(kvHeads)
		perKVHead := l.Shape.Heads / l.Shape.KVHeads
		var queryHeads []int
		for _, k := range kvHeads {
			for q := range perKVHead {
				queryHeads = append(queryHeads, k*perKVHead+q)
			}
		}
		l.KVHeads, l.Heads = without(l.KVHeads, kvHeads), without(l.Heads, queryHeads)
	}
	if r.neurons > 0 {
		lowest := ascending(neurons)[:r.neurons]
		slices.Sort(lowest)
		l.Neurons = without(l.Neurons, lowest)
	}
}

// kvHeadScores returns the mean score of each KV head's query heads.
func kvHeadScores(kvHeads int, heads []float64) []float64 {
	means := make([]float64, kvHeads)
	for k := range means {
		perKVHead := len(heads) / kvHeads
		for _, x := range heads[k*perKVHead : (k+1)*perKVHead] {
			means[k] += x
		}
		means[k] /= float64(perKVHead)
	}
	return means
}

// ascending lists the positions of the scores, lowest score first, equal ones by position.
func ascending(scores []float64) []int {
	order := upTo(len(scores))
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[a], scores[b]) })
	return order
}

// without returns a copy of list without the given positions, which ascend.
func without(list, positions []int) []int {
	kept := make([]int, 0, len(list)-len(positions))
	for i, x := range list {
		if len(positions) > 0 && positions[0] == i {
			positions = positions[1:]
			continue
		}
		kept = append(kept, x)
	}
	return kept
}
