package plan

import (
	"fmt"
	"math"
)

// Options of the width branch.
type Options struct {
	Rule          string `json:"rule"`           // auto, paper, exact, mlp-only or groups
	RoundTo       int    `json:"round_to"`       // MLP widths are multiples of it; 0 or 1 = any
	HeadsMultiple int    `json:"heads_multiple"` // head counts are multiples of it; 0 or 1 = any
	Allocation    string `json:"allocation"`     // uniform or global
}

// Resolve checks the options against the base model and settles "auto": exact
// where every query head has its own keys, else mlp-only.
func (o Options) Resolve(s State) (Options, error) {
	mha := true
	for _, l := range s.Layers {
		mha = mha && l.Shape.Heads == l.Shape.KVHeads
	}
	switch o.Rule {
	case "", "auto":
		o.Rule = "mlp-only"
		if mha {
			o.Rule = "exact"
		}
	case "paper", "exact":
		if !mha {
			return o, fmt.Errorf("rule %s: wants as many KV heads as heads; this model has fewer: use mlp-only or groups", o.Rule)
		}
	case "mlp-only", "groups":
	default:
		return o, fmt.Errorf("rule: want auto, paper, exact, mlp-only or groups, got %q", o.Rule)
	}
	o.RoundTo, o.HeadsMultiple = max(o.RoundTo, 1), max(o.HeadsMultiple, 1)
	switch o.Allocation {
	case "":
		o.Allocation = "uniform"
	case "uniform", "global":
	default:
		return o, fmt.Errorf("allocation: want uniform or global, got %q", o.Allocation)
	}
	return o, nil
}

// loss is what one layer gives in a width step.
type loss struct {
	groups  int     // KV heads, each with its query heads
	neurons int     //
	carry   float64 // parameters that should have gone and did not
}

// LayerBudget is P: the parameters of layer L-3, norms included, so that both
// branches remove the same.
func (s State) LayerBudget(dim int) float64 {
	return float64(s.Layers[max(len(s.Layers)-3, 0)].Shape.Params(dim))
}

// losses applies the rule to every layer for a budget of p parameters, and
// returns the new group accumulator.
func (s State) losses(dim int, o Options, p float64) ([]loss, float64) {
	var A, F, groupParams float64 // attention, MLP, one group of each layer
	for _, l := range s.Layers {
		A += float64(l.Shape.AttentionParams(dim))
		F += float64(l.Shape.MLPParams(dim))
		groupParams += perGroup(l, dim)
	}
	L := float64(len(s.Layers))
	acc, cutGroup := s.Groups, false
	if o.Rule == "groups" && groupParams > 0 {
		acc += p * A / (A + F) / groupParams
		for _, l := range s.Layers {
			cutGroup = cutGroup || acc >= 1 && l.Shape.KVHeads > 2
		}
		if cutGroup {
			acc--
		}
		acc = math.Round(acc*1e6) / 1e6
	}
	r := p / (A + F)
	neuron := float64(3 * dim)
	out := make([]loss, len(s.Layers))
	for i, l := range s.Layers {
		H, I := float64(l.Shape.Heads), float64(l.Shape.MLP)
		group := perGroup(l, dim)
		// nh groups by the rule, and the neurons nm it wants beside them, unrounded.
		var nh int
		var nm float64
		switch o.Rule {
		case "paper":
			nh = drop(r*H, l.Shape.Heads)
			nm = H*r - float64(nh) + I*r
		case "exact":
			nh = drop(r*H, l.Shape.Heads)
			nm = (p/L - float64(nh)*group) / neuron
		case "mlp-only":
			if F > 0 {
				nm = I * p / F
			}
		case "groups":
			if cutGroup && l.Shape.KVHeads > 2 {
				nh = 1
			}
			nm = (p/L - float64(nh)*group) / neuron
		}
		if o.RoundTo == 1 && o.HeadsMultiple == 1 {
			out[i] = loss{groups: nh, neurons: drop(nm, l.Shape.MLP)}
			continue
		}
		should := float64(nh)*group + nm*neuron + l.Carry
		if o.HeadsMultiple > 1 && nh > 0 {
			perKV := l.Shape.Heads / l.Shape.KVHeads
			unit := lcm(o.HeadsMultiple, perKV)
			keep := nearest(float64(l.Shape.Heads-nh*perKV), unit, l.Shape.Heads)
			nh = (l.Shape.Heads - keep) / perKV
		}
		want := I - (should-float64(nh)*group)/neuron
		keep := nearest(want, o.RoundTo, l.Shape.MLP)
		out[i] = loss{groups: nh, neurons: l.Shape.MLP - keep}
		out[i].carry = should - float64(nh)*group - float64(out[i].neurons)*neuron
	}
	return out, acc
}

// perGroup is the parameters of one KV head and its query heads.
func perGroup(l Layer, dim int) float64 {
	if l.Shape.KVHeads == 0 {
		return 0
	}
	return float64((2*l.Shape.Heads/l.Shape.KVHeads + 2) * l.Shape.HeadDim * dim)
}

// drop rounds half to even and leaves at least one of n.
func drop(x float64, n int) int {
	return int(max(0, min(math.RoundToEven(x), float64(n-1))))
}

// nearest is the multiple of unit nearest to x: a tie goes down, never above
// present, at least unit; what is narrower than unit stays as it is.
func nearest(x float64, unit, present int) int {
	if present <= unit {
		return present
	}
	n := int(math.Ceil(x/float64(unit)-0.5)) * unit
	return max(unit, min(n, present/unit*unit))
}

func lcm(a, b int) int {
	x, y := a, b
	for y > 0 {
		x, y = y, x%y
	}
	return a / x * b
}
