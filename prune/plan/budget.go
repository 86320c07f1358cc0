package plan

import (
	"fmt"
	"math"
	"slices"
)

// loss is what one layer gives in a width step.
type loss struct {
	groups  int     // KV heads, each with its query heads; with K = H a head
	neurons int     //
	carry   float64 // what the layer's carry becomes
}

// params counts what a loss removes; norms stay, since no step empties a block.
func (c loss) params(s Shape, dim int) int64 {
	return int64(c.groups)*groupParams(s, dim) + 3*int64(c.neurons)*int64(dim)
}

// groupParams is (2*H/K + 2)*Dh*D: q, k, v and o of one KV head and its query
// heads; 0 without heads.
func groupParams(s Shape, dim int) int64 {
	if s.KVHeads == 0 {
		return 0
	}
	return s.AttentionParams(dim) / int64(s.KVHeads)
}

// LayerBudget is P: the parameters of layer L-3 (of the first, where there are
// fewer than three), norms included, so that both branches remove the same.
func (s State) LayerBudget(dim int) float64 { return float64(s.layerBudget(dim)) }

func (s State) layerBudget(dim int) int64 {
	return s.Layers[max(len(s.Layers)-3, 0)].Shape.Params(dim)
}

// losses applies the rule to every layer for the budget P, and returns the
// layers' losses and the new group accumulator. ErrWidth: nothing goes, and no
// number of such steps would add up to anything.
//
// With rounding the layer's carry is added to its P/L. H is rounded first, to
// the multiple nearest to the rule's unrounded H; then I to the multiple nearest
// to the rule's unrounded I beside the heads that really go. Ties go down; a
// width never grows, and keeps one multiple, or what it has where that is less.
// The new carry is what should have gone, P/L and the old carry, less what goes.
func (s State) losses(dim int, o Options) ([]loss, float64, error) {
	p, layers := s.layerBudget(dim), int64(len(s.Layers))
	shares := make([]float64, layers)
	ratios := make([]float64, layers)
	total := float64(p)
	for i, l := range s.Layers {
		shares[i] = float64(p) / float64(layers)
		own := l.Shape.AttentionParams(dim) + l.Shape.MLPParams(dim)
		if own > 0 {
			ratios[i] = float64(p) / float64(layers*own)
		}
		if o.rounds() {
			shares[i] += l.Carry
			total += l.Carry
			if own > 0 {
				ratios[i] = shares[i] / float64(own)
			}
		}
	}
	cut, acc := s.groupsDue(dim, o, p, total)
	out := make([]loss, layers)
	var gone int64
	for i, l := range s.Layers {
		w := rule{o: o, s: l.Shape, dim: dim, share: shares[i], ratio: ratios[i]}
		out[i].groups = cut[i]
		if o.Rule == "paper" || o.Rule == "exact" {
			out[i].groups = w.heads()
		}
		out[i].neurons = w.neurons(out[i].groups)
		if o.rounds() {
			out[i].carry = shares[i] - float64(out[i].params(l.Shape, dim))
		}
		gone += out[i].params(l.Shape, dim)
	}
	if gone == 0 && (p == 0 || !s.accrues(o)) {
		return nil, 0, ErrWidth
	}
	return out, acc, nil
}

// accrues reports whether steps that take nothing add up to one that does.
func (s State) accrues(o Options) bool {
	for _, l := range s.Layers {
		if o.rounds() && o.floor(l.Shape) != l.Shape || o.Rule == "groups" && o.groupUnit(l.Shape) > 0 {
			return true
		}
	}
	return false
}

// groupsDue is rule groups' choice of how many KV heads each layer loses. The
// accumulator gains the attention's share of the budget, in groups,
//
//	acc += total * A/(A+F) / (the parameters of one group of every layer)
//
// and a layer loses its unit, one group unless HeadsMultiple asks for more, once
// acc holds it; acc then loses what went. The sums go over the layers that can
// still lose a group, so that the others hold nothing back. total is the budget
// p, or with rounding p and the carries.
func (s State) groupsDue(dim int, o Options, p int64, total float64) ([]int, float64) {
	cut := make([]int, len(s.Layers))
	if o.Rule != "groups" {
		return cut, s.Groups
	}
	var attn, mlp, one, able int64
	for _, l := range s.Layers {
		if o.groupUnit(l.Shape) > 0 {
			attn += l.Shape.AttentionParams(dim)
			mlp += l.Shape.MLPParams(dim)
			one += groupParams(l.Shape, dim)
			able++
		}
	}
	if able == 0 {
		return cut, s.Groups
	}
	layers := int64(len(s.Layers))
	due := quotient((attn+mlp)*layers, p, attn, able)
	if o.rounds() {
		due = total * float64(able) / float64(layers) * (float64(attn) / float64(attn+mlp))
	}
	acc := s.Groups + due/float64(one)
	var gone int64
	for i, l := range s.Layers {
		if unit := o.groupUnit(l.Shape); unit > 0 && acc >= float64(unit) {
			cut[i] = unit
			gone += int64(unit) * groupParams(l.Shape, dim)
		}
	}
	return cut, sixDecimals(acc - float64(gone)/float64(one))
}

// rule is the arithmetic of one layer.
type rule struct {
	o     Options
	s     Shape
	dim   int
	share float64 // parameters that should go
	ratio float64 // r: share over the layer's attention and MLP; 0 where it has neither
	all   bool    // round so that at least share goes
}

// heads is nh of rules paper and exact.
func (w rule) heads() int {
	if w.s.Heads == 0 {
		return 0
	}
	lost := float64(w.ratio * float64(w.s.Heads))
	if w.o.HeadsMultiple == 1 {
		return roundEven(lost, w.s.Heads-1)
	}
	return w.s.Heads - nearestMultiple(float64(w.s.Heads)-lost, w.o.HeadsMultiple, w.s.Heads)
}

// neurons is nm beside the groups that go.
func (w rule) neurons(groups int) int {
	if w.s.Intermediate == 0 {
		return 0
	}
	var lost float64
	if w.o.Rule == "paper" && !w.all {
		lost = float64(float64(w.s.Heads)*w.ratio) - float64(groups) + float64(float64(w.s.Intermediate)*w.ratio)
	} else {
		lost = (w.share - float64(int64(groups)*groupParams(w.s, w.dim))) / float64(3*w.dim)
	}
	switch keep := float64(w.s.Intermediate) - lost; {
	case w.all:
		return w.s.Intermediate - multipleBelow(keep, w.o.RoundTo, w.s.Intermediate)
	case w.o.rounds():
		return w.s.Intermediate - nearestMultiple(keep, w.o.RoundTo, w.s.Intermediate)
	}
	return roundEven(lost, w.s.Intermediate-1)
}

// lossesOf is the width step that removes p parameters: at least p, and above
// it by less than one neuron (one multiple of RoundTo) a layer. Layers that
// cannot give their part leave it to the others. Rule paper counts neurons as
// exact does. A layer without neurons gives whole heads. Carries are left out,
// since p is what really is left, and so become what is gone too much.
func (s State) lossesOf(dim int, o Options, p float64) ([]loss, float64, error) {
	if !(p > 0) || math.IsInf(p, 1) {
		return nil, 0, fmt.Errorf("width: want a budget above 0, got %v", p)
	}
	acc := s.Groups
	cut := make([]int, len(s.Layers))
	if o.Rule == "groups" {
		plain := o
		plain.RoundTo = 1
		due, left := s.groupsDue(dim, plain, int64(p), p)
		cost := 0.0
		for i, l := range s.Layers {
			cost += float64(int64(due[i]) * groupParams(l.Shape, dim))
		}
		if cost <= p {
			cut, acc = due, left
		}
	}
	// What each layer can give. By rule groups the heads are settled.
	most := make([]float64, len(s.Layers))
	for i, l := range s.Layers {
		least := o.floor(l.Shape)
		heads := int64(l.Shape.KVHeads - least.KVHeads)
		if o.Rule == "groups" {
			heads = int64(cut[i])
		}
		most[i] = float64(loss{groups: int(heads), neurons: l.Shape.Intermediate - least.Intermediate}.params(l.Shape, dim))
	}
	shares, ok := level(most, p)
	if !ok {
		sum := 0.0
		for _, m := range most {
			sum += m
		}
		return nil, 0, fmt.Errorf("%w: %.0f parameters are to go, %.0f can", ErrWidth, p, sum)
	}
	out := make([]loss, len(s.Layers))
	for i, l := range s.Layers {
		if shares[i] <= 0 {
			continue
		}
		own := float64(l.Shape.AttentionParams(dim) + l.Shape.MLPParams(dim))
		w := rule{o: o, s: l.Shape, dim: dim, share: shares[i], ratio: shares[i] / own, all: true}
		out[i] = loss{groups: cut[i]}
		if o.Rule == "paper" || o.Rule == "exact" {
			out[i].groups = w.exactHeads()
		}
		out[i].neurons = w.neurons(out[i].groups)
		if o.rounds() {
			out[i].carry = shares[i] - float64(out[i].params(l.Shape, dim))
		}
	}
	return out, acc, nil
}

// exactHeads is heads, but no more than the share pays for and no fewer than
// the neurons leave to take.
func (w rule) exactHeads() int {
	if w.s.Heads == 0 {
		return 0
	}
	group := float64(groupParams(w.s, w.dim))
	neurons := float64(w.s.Intermediate-w.o.floor(w.s).Intermediate) * float64(3*w.dim)
	keepMost := multipleBelow(float64(w.s.Heads)-max(0, w.share-neurons)/group, w.o.HeadsMultiple, w.s.Heads)
	keep := w.s.Heads - w.heads()
	for float64(w.s.Heads-keep)*group > w.share && keep+w.o.HeadsMultiple <= w.s.Heads {
		keep += w.o.HeadsMultiple
	}
	if float64(w.s.Heads-keep)*group > w.share {
		keep = w.s.Heads
	}
	return w.s.Heads - min(keep, keepMost)
}

// level spreads p evenly over the layers, none above its most; false where all
// of them together are less than p.
func level(most []float64, p float64) ([]float64, bool) {
	out := make([]float64, len(most))
	order := upTo(len(most))
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case most[a] < most[b]:
			return -1
		case most[a] > most[b]:
			return 1
		}
		return 0
	})
	for n, i := range order {
		even := p / float64(len(order)-n)
		if most[i] > even {
			for _, j := range order[n:] {
				out[j] = even // one value, so that equal layers stay equal
			}
			return out, true
		}
		out[i] = most[i]
		p -= most[i]
	}
	return out, p < 0.5
}
