package plan

// mlpOnlyRule is the rule of the released LLaMA-3 runs. Heads stay:
//
//	nm = round((P/L) / (3*D))
func mlpOnlyRule() Rule {
	return Rule{
		Name:    "mlp-only",
		Summary: "neurons only",
	}
}
