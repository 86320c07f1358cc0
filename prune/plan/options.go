package plan

import (
	"fmt"
	"slices"
	"strings"
)

// Rules lists what Options.Rule takes. P is a step's budget (State.LayerBudget),
// r = (P/L) / (the layer's attention and MLP parameters, without norms), and
// every layer loses by its own formula, rounded half to even:
//
//	paper     nh = min(round(r*H), H-1) heads,
//	          nm = min(round(H*r - nh + I*r), I-1) neurons: the released runs'
//	          rule for K = H. What the rounding of heads leaves moves into the
//	          neurons as if a head weighed as much as a neuron, so the step
//	          drifts from P.
//	exact     the same nh, and nm = round((P/L - nh*4*Dh*D) / (3*D)), so that
//	          the step removes P to within one neuron a layer.
//	mlp-only  nm = round((P/L) / (3*D)); heads stay.
//	groups    one whole key/value group a layer, never below two, whenever the
//	          attention's share of the steps has added up to one (State.Groups);
//	          nm = round((P/L - g*(2*H/K+2)*Dh*D) / (3*D)).
//	auto      exact where every layer has K = H, else mlp-only.
//
// nm stays within [0, I-1]; a layer without heads or neurons loses none there.
func Rules() []string { return []string{"auto", "paper", "exact", "mlp-only", "groups"} }

// Allocations lists what Options.Allocation takes: uniform, every layer loses
// P/L; global, the same totals from wherever scores are lowest (see spread).
func Allocations() []string { return []string{"uniform", "global"} }

// Options of the width branch.
type Options struct {
	Rule          string `json:"rule"`           // one of Rules; "" = auto
	RoundTo       int    `json:"round_to"`       // MLP widths become multiples of it; 0 or 1 = any
	HeadsMultiple int    `json:"heads_multiple"` // head counts that are cut become multiples of it; 0 or 1 = any
	Allocation    string `json:"allocation"`     // one of Allocations; "" = uniform
}

// minGroups is what rule groups leaves in every layer.
const minGroups = 2

// Resolve checks the options against the base model, fills in defaults and puts
// the rule that it stands for in the place of auto. Resolving twice changes
// nothing.
func (o Options) Resolve(s State) (Options, error) {
	gqa := slices.IndexFunc(s.Layers, func(l Layer) bool { return l.Shape.Heads != l.Shape.KVHeads })
	switch o.Rule {
	case "", "auto":
		o.Rule = "mlp-only"
		if gqa < 0 {
			o.Rule = "exact"
		}
	case "paper", "exact":
		if gqa >= 0 {
			l := s.Layers[gqa].Shape
			return o, fmt.Errorf("rule %s: wants as many KV heads as heads, layer %d has %d of %d: use mlp-only or groups", o.Rule, gqa, l.KVHeads, l.Heads)
		}
	}
	if o.Allocation == "" {
		o.Allocation = "uniform"
	}
	if o.RoundTo == 0 {
		o.RoundTo = 1
	}
	if o.HeadsMultiple == 0 {
		o.HeadsMultiple = 1
	}
	return o, o.check()
}

// check holds the options to their values.
func (o Options) check() error {
	if !slices.Contains(Rules(), o.Rule) {
		return fmt.Errorf("rule: want one of %s, got %q", strings.Join(Rules(), ", "), o.Rule)
	}
	if !slices.Contains(Allocations(), o.Allocation) {
		return fmt.Errorf("allocation: want uniform or global, got %q", o.Allocation)
	}
	if o.RoundTo < 1 || o.RoundTo > maxWidth {
		return fmt.Errorf("round_to: want 1 to %d, got %d", maxWidth, o.RoundTo)
	}
	if o.HeadsMultiple < 1 || o.HeadsMultiple > maxWidth {
		return fmt.Errorf("heads_multiple: want 1 to %d, got %d", maxWidth, o.HeadsMultiple)
	}
	return nil
}

// rounds reports whether widths are rounded to multiples, and so whether a
// carry is kept.
func (o Options) rounds() bool { return o.RoundTo > 1 || o.HeadsMultiple > 1 }

// groupUnit is the fewest KV heads that can go from a layer at once: their
// query heads go with them, what stays is a multiple of HeadsMultiple heads (at
// least one; by rule groups at least two groups). 0 = none can.
func (o Options) groupUnit(s Shape) int {
	if o.Rule == "mlp-only" || s.KVHeads == 0 {
		return 0
	}
	least, per := 1, s.Heads/s.KVHeads
	if o.Rule == "groups" {
		least = minGroups
	}
	step := o.HeadsMultiple / gcd(o.HeadsMultiple, per) // KV heads that make a multiple
	keep := (s.KVHeads - 1) / step * step
	if keep < least {
		return 0
	}
	return s.KVHeads - keep
}

// floor is the narrowest that width steps make a layer.
func (o Options) floor(s Shape) Shape {
	s.Intermediate = min(s.Intermediate, o.RoundTo)
	if unit := o.groupUnit(s); unit > 0 {
		least, per := 1, s.Heads/s.KVHeads
		if o.Rule == "groups" {
			least = minGroups
		}
		step := o.HeadsMultiple / gcd(o.HeadsMultiple, per)
		s.KVHeads = (least + step - 1) / step * step
		s.Heads = s.KVHeads * per
	}
	return s
}

func gcd(a, b int) int {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}
