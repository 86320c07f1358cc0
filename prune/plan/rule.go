package plan

import (
	"slices"
	"strings"
)

// Rule decides how a width step's budget is divided between heads and neurons. A new
// rule is one file rule_*.go that returns a Rule, and one line in rules.
//
// The formulas use P for the budget of the step (State.LayerBudget) and, for each
// layer, r = (P/L) / (the layer's attention and MLP parameters, without norms). The
// numbers of heads nh and of neurons nm that a layer loses are rounded half to even. A
// layer keeps at least one neuron, and a layer without heads or neurons loses none.
type Rule struct {
	Name    string // value of --rule
	Summary string // one phrase for the help text

	// requiresMHA restricts the rule to models with as many KV heads as query heads.
	requiresMHA bool

	// minKVHeads is the number of KV heads that every layer keeps. 0 means that the
	// rule removes no heads.
	minKVHeads int

	// kvHeads returns the number of KV heads that one layer loses for its budget; their
	// query heads go with them. It is nil where no heads are removed, or accumulate
	// decides.
	kvHeads func(b layerBudget) int

	// accumulate returns the number of KV heads that each layer loses in this step, and
	// the new value of State.Groups, for rules that save up parts of a KV head over
	// several steps. It is nil for the others. budget is P; total is P and, with
	// rounding, the carries of all layers.
	accumulate func(s State, dim int, o Options, budget int64, total float64) (removed []int, groups float64)

	// neurons returns the unrounded number of neurons that a layer loses besides some KV
	// heads. If it is nil, the neurons have the parameters that the heads leave of the
	// layer's budget.
	neurons func(b layerBudget, kvHeads int) float64
}

// rules is the table of the rules.
func rules() []Rule {
	return []Rule{
		paperRule(),
		exactRule(),
		mlpOnlyRule(),
		groupsRule(),
	}
}

// AutoRule is the name that stands for exact where every layer has as many KV heads
// as query heads, and for mlp-only elsewhere.
const AutoRule = "auto"

// Rules lists the values of Options.Rule.
func Rules() []string {
	names := []string{AutoRule}
	for _, r := range rules() {
		names = append(names, r.Name)
	}
	return names
}

// RulesHelp describes every rule in one line.
func RulesHelp() string {
	lines := []string{AutoRule + " (exact for models without grouped-query attention, else mlp-only)"}
	for _, r := range rules() {
		lines = append(lines, r.Name+" ("+r.Summary+")")
	}
	return strings.Join(lines, ", ")
}

// rule returns the rule of resolved options.
func (o Options) rule() Rule {
	all := rules()
	if i := slices.IndexFunc(all, func(r Rule) bool { return r.Name == o.Rule }); i >= 0 {
		return all[i]
	}
	return Rule{}
}

// layerBudget is the part of a width step's budget that falls on one layer.
type layerBudget struct {
	options Options
	shape   Shape
	dim     int     // D
	params  float64 // parameters that the layer should lose
	ratio   float64 // r: params over the layer's attention and MLP parameters; 0 without any
	atLeast bool    // no fewer than params are to go: the step ends at an exact target
}

// byRatio rounds r*H, the rule of the paper and of rule exact for heads.
func (b layerBudget) byRatio() int {
	if b.shape.Heads == 0 {
		return 0
	}
	lost := float64(b.ratio * float64(b.shape.Heads))
	if b.options.HeadsMultiple == 1 {
		return roundEven(lost, b.shape.Heads-1)
	}
	return b.shape.Heads - nearestMultiple(float64(b.shape.Heads)-lost, b.options.HeadsMultiple, b.shape.Heads)
}

// remainingNeurons is the number of neurons that have the parameters which the KV
// heads leave of the budget.
func (b layerBudget) remainingNeurons(kvHeads int) float64 {
	return (b.params - float64(int64(kvHeads)*kvHeadParams(b.shape, b.dim))) / float64(3*b.dim)
}

// neurons is the number of neurons that the layer loses besides some KV heads.
func (b layerBudget) neurons(kvHeads int) int {
	if b.shape.Intermediate == 0 {
		return 0
	}
	lost := b.remainingNeurons(kvHeads)
	if byRule := b.options.rule().neurons; byRule != nil && !b.atLeast {
		lost = byRule(b, kvHeads)
	}
	switch keep := float64(b.shape.Intermediate) - lost; {
	case b.atLeast:
		return b.shape.Intermediate - multipleBelow(keep, b.options.RoundTo, b.shape.Intermediate)
	case b.options.rounds():
		return b.shape.Intermediate - nearestMultiple(keep, b.options.RoundTo, b.shape.Intermediate)
	}
	return roundEven(lost, b.shape.Intermediate-1)
}

// affordableKVHeads is the rule's number of KV heads, reduced to what the budget pays
// for and raised where the layer has too few neurons to lose the rest.
func (b layerBudget) affordableKVHeads() int {
	if b.shape.Heads == 0 {
		return 0
	}
	perHead := float64(kvHeadParams(b.shape, b.dim))
	neurons := float64(b.shape.Intermediate-b.options.narrowest(b.shape).Intermediate) * float64(3*b.dim)
	keepAtMost := multipleBelow(float64(b.shape.Heads)-max(0, b.params-neurons)/perHead, b.options.HeadsMultiple, b.shape.Heads)
	keep := b.shape.Heads - b.options.rule().kvHeads(b)
	for float64(b.shape.Heads-keep)*perHead > b.params && keep+b.options.HeadsMultiple <= b.shape.Heads {
		keep += b.options.HeadsMultiple
	}
	if float64(b.shape.Heads-keep)*perHead > b.params {
		keep = b.shape.Heads
	}
	return b.shape.Heads - min(keep, keepAtMost)
}
