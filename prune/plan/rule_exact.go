package plan

// exactRule removes as many heads as rule paper and then the number of neurons that
// meets the budget, so that a step removes P to within one neuron per layer. For K = H:
//
//	nh = min(round(r*H), H-1)
//	nm = round((P/L - nh*4*Dh*D) / (3*D))
func exactRule() Rule {
	return Rule{
		Name:        "exact",
		Summary:     "heads as in paper, neurons so that the step removes as much as a layer has",
		requiresMHA: true,
		minKVHeads:  1,
		kvHeads:     layerBudget.byRatio,
	}
}
