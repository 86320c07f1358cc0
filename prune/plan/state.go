// Package plan describes a pruned model as data: how many layers, heads and neurons
// every step leaves, which ones of the base model they are, and how each step was
// decided. It computes steps from the base model's shapes and from scores, and reads
// and writes plan.json. It does not read weights.
//
// The rules are those of "Compressing LLMs with MoP: Mixture of Pruners" (arXiv
// 2602.06127) and of its released runs. Symbols: L layers, D hidden size, V vocabulary;
// per layer H query heads, K KV heads, Dh head size, I neurons. Parameters are counted
// as config.Config counts them.
//
// Products that are added to something are wrapped in float64(), so that no compiler
// fuses the two operations and every machine computes the same plan.
package plan

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"mop/runtime/config"
)

// Kind is what a step removes.
type Kind string

const (
	Depth Kind = "depth" // the third-to-last layer
	Width Kind = "width" // heads and neurons of all layers
)

// Shape holds the sizes of a layer.
type Shape = config.LayerShape

// Layer is one layer of the current model. The index lists say which parts of the base
// layer are kept, ascending. They are nil in a dry run, where only sizes are known.
type Layer struct {
	From    int     `json:"from"`     // index of the base layer
	Shape   Shape   `json:"shape"`    // current sizes
	Heads   []int   `json:"heads"`    // [H] base query heads, all of each kept KV head
	KVHeads []int   `json:"kv_heads"` // [K] base key/value heads
	Neurons []int   `json:"mlp"`      // [I] base neurons
	Carry   float64 `json:"carry"`    // parameters that rounding still has to remove
}

// State is the current model as data, and all that the next step depends on: a run that
// resumes from its JSON ends in the same bytes. It is a value; a step returns a new one.
type State struct {
	Layers []Layer `json:"layers"`
	// Groups is the part of a KV head that rule "groups" has accumulated, rounded to 6
	// decimals.
	Groups float64 `json:"groups"`
}

// New returns the state of the base model.
func New(c *config.Config) State {
	s := State{Layers: make([]Layer, len(c.Layers))}
	for l, shape := range c.Layers {
		s.Layers[l] = Layer{From: l, Shape: shape, Heads: upTo(shape.Heads), KVHeads: upTo(shape.KVHeads), Neurons: upTo(shape.Intermediate)}
	}
	return s
}

// newWithoutIndices returns the state of the base model with sizes only, for a dry run.
func newWithoutIndices(c *config.Config) State {
	s := State{Layers: make([]Layer, len(c.Layers))}
	for l, shape := range c.Layers {
		s.Layers[l] = Layer{From: l, Shape: shape}
	}
	return s
}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// Shapes lists the shapes of the current layers.
func (s State) Shapes() []config.LayerShape {
	out := make([]config.LayerShape, len(s.Layers))
	for i, l := range s.Layers {
		out[i] = l.Shape
	}
	return out
}

// Config is the base model's config with the current layers.
func (s State) Config(base *config.Config) *config.Config {
	c := base.Clone()
	c.Layers = s.Shapes()
	return c
}

// The reasons why a step is impossible.
var (
	ErrDepth = errors.New("depth would leave fewer than three layers")
	ErrWidth = errors.New("width has nothing left to take")

	errLastLayer = errors.New("the last layer cannot be removed")
)

// PruneDepth removes the third-to-last layer. The last two layers are always kept.
func (s State) PruneDepth() (State, error) {
	if len(s.Layers) <= 3 {
		return s, ErrDepth
	}
	at := len(s.Layers) - 3
	s.Layers = slices.Delete(slices.Clone(s.Layers), at, at+1)
	return s, nil
}

// PruneLayer removes a layer of the current model, from 0. One layer always remains.
func (s State) PruneLayer(at int) (State, error) {
	if len(s.Layers) <= 1 {
		return s, errLastLayer
	}
	if at < 0 || at >= len(s.Layers) {
		return s, fmt.Errorf("layer %d: the model has layers 0 to %d", at, len(s.Layers)-1)
	}
	s.Layers = slices.Delete(slices.Clone(s.Layers), at, at+1)
	return s, nil
}

// Reach is the largest compression of any path with these options: three layers remain,
// each as narrow as width steps make it.
func (s State) Reach(base *config.Config, o Options) (float64, error) {
	for next, err := s.PruneDepth(); err == nil; next, err = s.PruneDepth() {
		s = next
	}
	return s.WidthReach(base, o)
}

// WidthReach is the largest compression of width steps alone.
func (s State) WidthReach(base *config.Config, o Options) (float64, error) {
	o, err := o.Resolve(s)
	if err != nil {
		return 0, err
	}
	c := s.Config(base)
	for l, shape := range c.Layers {
		c.Layers[l] = o.narrowest(shape)
	}
	return 1 - float64(c.Params())/float64(base.Params()), nil
}

// DepthReach is the compression of a model of so many layers, the smallest of the state's.
func (s State) DepthReach(base *config.Config, layers int) float64 {
	c := s.Config(base)
	slices.SortFunc(c.Layers, func(a, b Shape) int { return cmp.Compare(a.Params(c.HiddenSize), b.Params(c.HiddenSize)) })
	c.Layers = c.Layers[:min(layers, len(c.Layers))]
	return 1 - float64(c.Params())/float64(base.Params())
}

// Check reports whether the state can be a pruned model of a base with these layers.
// States are read from journals and plans, which may have been edited. Either every
// layer has its indices, or none has.
func (s State) Check(base []Shape) error {
	if len(s.Layers) < 1 || len(s.Layers) > len(base) {
		return fmt.Errorf("layers: want 1 to %d, got %d", len(base), len(s.Layers))
	}
	if !finite(s.Groups) {
		return fmt.Errorf("groups: want a finite number, got %v", s.Groups)
	}
	last := -1
	for i, l := range s.Layers {
		if l.From <= last || l.From >= len(base) {
			return fmt.Errorf("layer %d: from: want base layers ascending below %d, got %d", i, len(base), l.From)
		}
		last = l.From
		if err := checkPruned(l.Shape, base[l.From]); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		if !finite(l.Carry) {
			return fmt.Errorf("layer %d: carry: want a finite number, got %v", i, l.Carry)
		}
		if l.withoutIndices() && s.withoutIndices() {
			continue
		}
		if err := l.checkIndices(base[l.From]); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
	}
	return nil
}

// withoutIndices reports whether only the layer's sizes are known.
func (l Layer) withoutIndices() bool { return l.Heads == nil && l.KVHeads == nil && l.Neurons == nil }

func (s State) withoutIndices() bool {
	return !slices.ContainsFunc(s.Layers, func(l Layer) bool { return !l.withoutIndices() })
}

func (l Layer) checkIndices(base Shape) error {
	for _, x := range []struct {
		name       string
		list       []int
		want, base int // their number, and that of the base layer
	}{
		{"heads", l.Heads, l.Shape.Heads, base.Heads},
		{"kv_heads", l.KVHeads, l.Shape.KVHeads, base.KVHeads},
		{"mlp", l.Neurons, l.Shape.Intermediate, base.Intermediate},
	} {
		if len(x.list) != x.want {
			return fmt.Errorf("%s: want %d indices, got %d", x.name, x.want, len(x.list))
		}
		last := -1
		for i, k := range x.list {
			if k <= last || k >= x.base {
				return fmt.Errorf("%s: entry %d: want ascending indices below %d, got %d", x.name, i, x.base, k)
			}
			last = k
		}
	}
	if base.KVHeads == 0 {
		return nil
	}
	per := base.Heads / base.KVHeads
	for i, h := range l.Heads {
		if want := l.KVHeads[i/per]*per + i%per; h != want {
			return fmt.Errorf("heads: entry %d: kv_heads keep query head %d, got %d", i, want, h)
		}
	}
	return nil
}

// checkPruned reports whether a layer of shape from can be pruned to s: no size grows,
// and every KV head keeps all of its query heads.
func checkPruned(s, from Shape) error {
	switch {
	case s.HeadDim != from.HeadDim:
		return fmt.Errorf("head_dim: want %d, got %d", from.HeadDim, s.HeadDim)
	case s.Heads < 0 || s.Heads > from.Heads:
		return fmt.Errorf("heads: want 0 to %d, got %d", from.Heads, s.Heads)
	case s.KVHeads < 0 || s.KVHeads > from.KVHeads || s.KVHeads*from.Heads != s.Heads*from.KVHeads:
		return fmt.Errorf("kv_heads: want %d heads to share them as %d share %d, got %d", s.Heads, from.Heads, from.KVHeads, s.KVHeads)
	case s.Intermediate < 0 || s.Intermediate > from.Intermediate:
		return fmt.Errorf("mlp: want 0 to %d, got %d", from.Intermediate, s.Intermediate)
	}
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
