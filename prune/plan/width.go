package plan

import (
	"cmp"
	"fmt"
	"slices"
)

// Scores are the current model's AMP scores; lowest goes first.
type Scores struct {
	Heads   [][]float64 `json:"heads"` // [L][H] query heads
	Neurons [][]float64 `json:"mlp"`   // [L][I]
}

// PruneWidth is one width step by the options' rule. With p = 0 its budget is the
// parameters of layer L-3. Any other p is met: at least p parameters go, and
// more than p by less than one neuron (one multiple of RoundTo) a layer; that is
// the step which ends at an exact target. Without scores only sizes are known
// afterwards.
func (s State) PruneWidth(dim int, o Options, p float64, scores *Scores) (State, error) {
	o, err := o.Resolve(s)
	if err != nil {
		return s, err
	}
	var cuts []loss
	var acc float64
	if p == 0 {
		cuts, acc, err = s.losses(dim, o)
	} else {
		cuts, acc, err = s.lossesOf(dim, o, p)
	}
	if err != nil {
		return s, err
	}
	if scores != nil {
		if err := s.check(scores); err != nil {
			return s, err
		}
	}
	if o.Allocation == "global" {
		if scores == nil {
			return s, errNoScores
		}
		if cuts, err = s.spread(dim, o, cuts, scores); err != nil {
			return s, err
		}
	}
	s.Layers = slices.Clone(s.Layers)
	s.Groups = acc
	for i := range s.Layers {
		l, c := &s.Layers[i], cuts[i]
		l.Carry = c.carry
		if scores == nil {
			l.Heads, l.KVHeads, l.Neurons = nil, nil, nil
		} else {
			l.keep(c, scores.Heads[i], scores.Neurons[i])
		}
		if l.Shape.KVHeads > 0 {
			l.Shape.Heads -= c.groups * (l.Shape.Heads / l.Shape.KVHeads)
			l.Shape.KVHeads -= c.groups
		}
		l.Shape.Intermediate -= c.neurons
	}
	return s, nil
}

// check holds scores to the state: one for every head and neuron, all finite.
func (s State) check(scores *Scores) error {
	if len(scores.Heads) != len(s.Layers) || len(scores.Neurons) != len(s.Layers) {
		return fmt.Errorf("scores: want %d layers, got %d and %d", len(s.Layers), len(scores.Heads), len(scores.Neurons))
	}
	for i, l := range s.Layers {
		if len(l.Heads) != l.Shape.Heads || len(l.Neurons) != l.Shape.Intermediate {
			return fmt.Errorf("scores: layer %d: only its size is known, not which heads and neurons it has", i)
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

// keep drops the lowest scores; of equal ones the lower index goes first. A
// group's score is the mean of its query heads'.
func (l *Layer) keep(c loss, heads, mlp []float64) {
	if c.groups > 0 {
		gone := ascending(groupScores(l.Shape.KVHeads, heads))[:c.groups]
		slices.Sort(gone)
		per := l.Shape.Heads / l.Shape.KVHeads
		var goneHeads []int
		for _, g := range gone {
			for q := range per {
				goneHeads = append(goneHeads, g*per+q)
			}
		}
		l.KVHeads, l.Heads = without(l.KVHeads, gone), without(l.Heads, goneHeads)
	}
	if c.neurons > 0 {
		gone := ascending(mlp)[:c.neurons]
		slices.Sort(gone)
		l.Neurons = without(l.Neurons, gone)
	}
}

// groupScores are the means over each KV head's query heads.
func groupScores(groups int, heads []float64) []float64 {
	out := make([]float64, groups)
	for g := range out {
		per := len(heads) / groups
		for _, x := range heads[g*per : (g+1)*per] {
			out[g] += x
		}
		out[g] /= float64(per)
	}
	return out
}

// ascending lists positions, lowest score first, equal ones by position.
func ascending(scores []float64) []int {
	order := upTo(len(scores))
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[a], scores[b]) })
	return order
}

// without copies list less the given positions, which ascend.
func without(list, gone []int) []int {
	out := make([]int, 0, len(list)-len(gone))
	for i, x := range list {
		if len(gone) > 0 && gone[0] == i {
			gone = gone[1:]
			continue
		}
		out = append(out, x)
	}
	return out
}
