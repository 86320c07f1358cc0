package plan

// groupsRule removes whole KV heads with their query heads: one per layer, never below
// two, whenever the attention's part of the steps has added up to one (State.Groups).
//
//	nm = round((P/L - g*(2*H/K + 2)*Dh*D) / (3*D))     g = KV heads removed, 0 or 1
func groupsRule() Rule {
	return Rule{
		Name:       "groups",
		Summary:    "whole KV heads with their query heads, and neurons",
		minKVHeads: 2,
		accumulate: accumulateGroups,
	}
}

// accumulateGroups adds the attention's part of the budget, in KV heads, to the
// accumulator:
//
//	groups += total * A/(A+F) / (the parameters of one KV head of every layer)
//
// A layer loses its removalUnit, one KV head unless HeadsMultiple asks for more, once
// the accumulator holds it, and the accumulator then loses what was removed. The sums
// go over the layers that can still lose a KV head, so that the others do not hold
// them back.
func accumulateGroups(s State, dim int, o Options, budget int64, total float64) ([]int, float64) {
	removed := make([]int, len(s.Layers))
	var attention, mlp, perHead, able int64
	for _, l := range s.Layers {
		if o.removalUnit(l.Shape) > 0 {
			attention += l.Shape.AttentionParams(dim)
			mlp += l.Shape.MLPParams(dim)
			perHead += kvHeadParams(l.Shape, dim)
			able++
		}
	}
	if able == 0 {
		return removed, s.Groups
	}
	layers := int64(len(s.Layers))
	due := quotient((attention+mlp)*layers, budget, attention, able)
	if o.rounds() {
		due = total * float64(able) / float64(layers) * (float64(attention) / float64(attention+mlp))
	}
	groups := s.Groups + due/float64(perHead)
	var params int64
	for i, l := range s.Layers {
		if unit := o.removalUnit(l.Shape); unit > 0 && groups >= float64(unit) {
			removed[i] = unit
			params += int64(unit) * kvHeadParams(l.Shape, dim)
		}
	}
	return removed, sixDecimals(groups - float64(params)/float64(perHead))
}
