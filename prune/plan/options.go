package plan

import (
	"fmt"
	"slices"
	"strings"
)

// The values of Options.Allocation.
const (
	Uniform = "uniform" // every layer loses P/L
	Global  = "global"  // the same totals are removed from the layers where the scores are lowest (see allocateGlobally)
)

// Allocations lists them.
func Allocations() []string { return []string{Uniform, Global} }

// Options of the width step.
type Options struct {
	Rule          string `json:"rule"`           // one of Rules; "" = auto
	RoundTo       int    `json:"round_to"`       // intermediate sizes become multiples of it; 0 or 1 = any
	HeadsMultiple int    `json:"heads_multiple"` // head counts that change become multiples of it; 0 or 1 = any
	Allocation    string `json:"allocation"`     // one of Allocations; "" = uniform
}

// Check refuses values that no model can be pruned with.
func (o Options) Check() error { return o.withDefaults().check() }

// Resolve checks the options for a model, fills in the defaults, and replaces auto by
// the rule that it stands for. Resolving twice changes nothing.
func (o Options) Resolve(s State) (Options, error) {
	o = o.withDefaults()
	gqa := slices.IndexFunc(s.Layers, func(l Layer) bool { return l.Shape.Heads != l.Shape.KVHeads })
	if o.Rule == AutoRule {
		o.Rule = mlpOnlyRule().Name
		if gqa < 0 {
			o.Rule = exactRule().Name
		}
	}
	if gqa >= 0 && o.rule().requiresMHA {
		l := s.Layers[gqa].Shape
		return o, fmt.Errorf("rule %s: wants as many KV heads as heads, layer %d has %d of %d: use mlp-only or groups", o.Rule, gqa, l.KVHeads, l.Heads)
	}
	return o, o.check()
}

func (o Options) withDefaults() Options {
	if o.Rule == "" {
		o.Rule = AutoRule
	}
	if o.Allocation == "" {
		o.Allocation = Uniform
	}
	if o.RoundTo == 0 {
		o.RoundTo = 1
	}
	if o.HeadsMultiple == 0 {
		o.HeadsMultiple = 1
	}
	return o
}

// check refuses values out of range. No default is accepted in place of a value.
func (o Options) check() error {
	if !slices.Contains(Rules(), o.Rule) {
		return fmt.Errorf("rule: want one of %s, got %q", strings.Join(Rules(), ", "), o.Rule)
	}
	if !slices.Contains(Allocations(), o.Allocation) {
		return fmt.Errorf("allocation: want one of %s, got %q", strings.Join(Allocations(), ", "), o.Allocation)
	}
	if o.RoundTo < 1 || o.RoundTo > maxSize {
		return fmt.Errorf("round_to: want 1 to %d, got %d", maxSize, o.RoundTo)
	}
	if o.HeadsMultiple < 1 || o.HeadsMultiple > maxSize {
		return fmt.Errorf("heads_multiple: want 1 to %d, got %d", maxSize, o.HeadsMultiple)
	}
	return nil
}

// rounds reports whether sizes are rounded to multiples, and so whether layers have a
// carry.
func (o Options) rounds() bool { return o.RoundTo > 1 || o.HeadsMultiple > 1 }

// removalUnit is the smallest number of KV heads that a layer can lose. Their query
// heads go with them, and what remains is a multiple of HeadsMultiple query heads and at
// least the rule's minimum of KV heads. 0 means that the layer can lose none.
func (o Options) removalUnit(s Shape) int {
	minimum := o.rule().minKVHeads
	if minimum == 0 || s.KVHeads == 0 {
		return 0
	}
	multiple := o.kvHeadsMultiple(s)
	keep := (s.KVHeads - 1) / multiple * multiple
	if keep < minimum {
		return 0
	}
	return s.KVHeads - keep
}

// kvHeadsMultiple is the smallest number of KV heads whose query heads are a multiple of
// HeadsMultiple.
func (o Options) kvHeadsMultiple(s Shape) int {
	return o.HeadsMultiple / gcd(o.HeadsMultiple, s.Heads/s.KVHeads)
}

// narrowest is the smallest shape that width steps give a layer.
func (o Options) narrowest(s Shape) Shape {
	s.Intermediate = min(s.Intermediate, o.RoundTo)
	if o.removalUnit(s) > 0 {
		perKVHead, multiple := s.Heads/s.KVHeads, o.kvHeadsMultiple(s)
		s.KVHeads = (o.rule().minKVHeads + multiple - 1) / multiple * multiple
		s.Heads = s.KVHeads * perKVHead
	}
	return s
}

func gcd(a, b int) int {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}
