package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Scores are the current model's AMP scores; lowest goes first.
type Scores struct {
	Heads [][]float64 `json:"heads"` // [L][H] query heads
	MLP   [][]float64 `json:"mlp"`   // [L][I]
}

// Narrowed removes about p parameters from all layers by the options' rule;
// p = 0 means the parameters of layer L-3. Without scores only sizes are known
// afterwards.
func (s State) Narrowed(dim int, o Options, p float64, scores *Scores) (State, error) {
	o, err := o.Resolve(s)
	if err != nil {
		return s, err
	}
	if p == 0 {
		p = s.LayerBudget(dim)
	}
	cuts, acc := s.losses(dim, o, p)
	if o.Allocation == "global" {
		if scores == nil {
			return s, errors.New("allocation global: wants scores, and a plan from sizes alone has none")
		}
		if err := s.check(scores); err != nil {
			return s, err
		}
		s.spread(cuts, o, *scores, dim)
	}
	total := 0
	for _, c := range cuts {
		total += c.groups + c.neurons
	}
	if total == 0 {
		return s, ErrWidth
	}
	if scores != nil {
		if err := s.check(scores); err != nil {
			return s, err
		}
	}
	s.Layers = slices.Clone(s.Layers)
	s.Groups = acc
	for i := range s.Layers {
		l, c := &s.Layers[i], cuts[i]
		l.Carry = c.carry
		if scores == nil {
			l.Heads, l.KVHeads, l.MLP = nil, nil, nil
		} else {
			l.keep(c, scores.Heads[i], scores.MLP[i])
		}
		if l.Shape.KVHeads > 0 {
			l.Shape.Heads -= c.groups * (l.Shape.Heads / l.Shape.KVHeads)
			l.Shape.KVHeads -= c.groups
		}
		l.Shape.MLP -= c.neurons
	}
	return s, nil
}

func (s State) check(scores *Scores) error {
	if len(scores.Heads) != len(s.Layers) || len(scores.MLP) != len(s.Layers) {
		return fmt.Errorf("scores: want %d layers, got %d and %d", len(s.Layers), len(scores.Heads), len(scores.MLP))
	}
	for i, l := range s.Layers {
		if len(scores.Heads[i]) != len(l.Heads) || len(scores.MLP[i]) != len(l.MLP) {
			return fmt.Errorf("scores: layer %d: want %d heads and %d neurons, got %d and %d", i, len(l.Heads), len(l.MLP), len(scores.Heads[i]), len(scores.MLP[i]))
		}
		for _, x := range append(slices.Clone(scores.Heads[i]), scores.MLP[i]...) {
			if x-x != 0 {
				return fmt.Errorf("scores: layer %d: a score is not finite", i)
			}
		}
	}
	return nil
}

// keep drops the lowest scores; of equal ones the lower index goes first. A
// group's score is the mean of its query heads'.
func (l *Layer) keep(c loss, heads, mlp []float64) {
	if c.groups > 0 {
		gone := lowest(groupScores(l.Shape.KVHeads, heads), c.groups)
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
		l.MLP = without(l.MLP, lowest(mlp, c.neurons))
	}
}

func groupScores(groups int, heads []float64) []float64 {
	out := make([]float64, groups)
	for h, x := range heads {
		out[h*groups/len(heads)] += x * float64(groups) / float64(len(heads))
	}
	return out
}

// lowest lists the n positions of lowest score, ascending by position.
func lowest(scores []float64, n int) []int {
	order := upTo(len(scores))
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[a], scores[b]) })
	gone := order[:n]
	slices.Sort(gone)
	return gone
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

// spread keeps the step's totals of groups and of neurons and shares each out
// anew: the lowest scores of the whole model go, each score divided by its
// layer's mean. Every layer keeps one neuron and one group at least (two by rule
// groups), rounded widths stay rounded, and a layer's part of the rounding error
// joins its carry.
func (s State) spread(cuts []loss, o Options, scores Scores, dim int) {
	groups, neurons := 0, 0
	for _, c := range cuts {
		groups += c.groups
		neurons += c.neurons
	}
	least := 1
	if o.Rule == "groups" {
		least = 2
	}
	var perLayer [][]float64
	var floor []int
	for i, l := range s.Layers {
		perLayer = append(perLayer, groupScores(l.Shape.KVHeads, scores.Heads[i]))
		floor = append(floor, least)
	}
	g := share(perLayer, floor, groups)
	for i, l := range s.Layers {
		cuts[i].groups = g[i]
		if o.HeadsMultiple > 1 && g[i] > 0 {
			per := l.Shape.Heads / l.Shape.KVHeads
			cuts[i].groups = (l.Shape.Heads - nearest(float64(l.Shape.Heads-g[i]*per), lcm(o.HeadsMultiple, per), l.Shape.Heads)) / per
		}
		floor[i] = o.RoundTo
	}
	n := share(scores.MLP, floor, neurons)
	for i, l := range s.Layers {
		want := float64(n[i])
		cuts[i].neurons, cuts[i].carry = n[i], 0
		if o.RoundTo > 1 || o.HeadsMultiple > 1 {
			want += (l.Carry + float64(g[i]-cuts[i].groups)*perGroup(l, dim)) / float64(3*dim)
			cuts[i].neurons = l.Shape.MLP - nearest(float64(l.Shape.MLP)-want, o.RoundTo, l.Shape.MLP)
			cuts[i].carry = (want - float64(cuts[i].neurons)) * float64(3*dim)
		}
	}
}

// share takes total units from all layers, lowest normalised score first, and
// leaves each layer its floor.
func share(scores [][]float64, floor []int, total int) []int {
	type unit struct {
		layer int
		score float64
	}
	var all []unit
	for l, list := range scores {
		sum := 0.0
		for _, x := range list {
			sum += x
		}
		for _, x := range list {
			if sum > 0 {
				x /= sum / float64(len(list))
			}
			all = append(all, unit{l, x})
		}
	}
	slices.SortStableFunc(all, func(a, b unit) int { return cmp.Compare(a.score, b.score) })
	out := make([]int, len(scores))
	for _, u := range all {
		if total == 0 {
			break
		}
		if len(scores[u.layer])-out[u.layer] > floor[u.layer] {
			out[u.layer]++
			total--
		}
	}
	return out
}
