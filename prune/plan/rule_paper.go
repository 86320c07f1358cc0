package plan

// paperRule is the rule of the released LLaMA-2 runs, for K = H:
//
//	nh = min(round(r*H), H-1)
//	nm = min(round(H*r - nh + I*r), I-1)
//
// What the rounding of the heads leaves is removed as neurons, as if a head had as many
// parameters as a neuron, so a step does not remove exactly P.
func paperRule() Rule {
	return Rule{
		Name:        "paper",
		Summary:     "the released runs' rule for heads and neurons",
		requiresMHA: true,
		minKVHeads:  1,
		kvHeads:     layerBudget.byRatio,
		neurons: func(b layerBudget, kvHeads int) float64 {
			return float64(float64(b.shape.Heads)*b.ratio) - float64(kvHeads) + float64(float64(b.shape.Intermediate)*b.ratio)
		},
	}
}
