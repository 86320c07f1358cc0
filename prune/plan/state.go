// Package plan is MoP as pure data: how many layers, heads and neurons every
// step leaves, which of the base model's they are, and how each step was
// decided. What flows in: the base model's shapes and, for a real run, scores.
// What flows out: shapes, kept indices, and plan.json.
//
// The rules are those of "Compressing LLMs with MoP: Mixture of Pruners" (arXiv
// 2602.06127) and its released runs. Symbols: L layers, D model width, V
// vocabulary; per layer H query heads, K KV heads, Dh head width, I neurons.
// Parameters are counted as config.Config counts them.
//
// Products that are added to anything stand in float64(), so that no compiler
// fuses them and every machine cuts alike.
package plan

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"mop/runtime/config"
)

// Kind is what a step cuts.
type Kind string

const (
	Depth Kind = "depth" // the third-to-last layer
	Width Kind = "width" // heads and neurons of all layers
)

// Shape is a layer's size.
type Shape = config.LayerShape

// Layer is one layer of the current model. The index lists name what is left of
// the base layer, ascending; they are nil in a dry run, which knows only sizes.
type Layer struct {
	From    int     `json:"from"`     // base layer
	Shape   Shape   `json:"shape"`    // present size
	Heads   []int   `json:"heads"`    // [H] base query heads, all of each kept KV head
	KVHeads []int   `json:"kv_heads"` // [K] base key/value heads
	Neurons []int   `json:"mlp"`      // [I] base neurons
	Carry   float64 `json:"carry"`    // parameters that rounding has left to remove
}

// State is the current model as data, all that the next step depends on: read
// back from JSON it goes on to the same bytes. It is a value, no step changes
// another.
type State struct {
	Layers []Layer `json:"layers"`
	// Groups is the share of a KV group that rule "groups" has saved up, rounded
	// to 6 decimals.
	Groups float64 `json:"groups"`
}

// New is the uncut model.
func New(c *config.Config) State {
	s := State{Layers: make([]Layer, len(c.Layers))}
	for l, shape := range c.Layers {
		s.Layers[l] = Layer{From: l, Shape: shape, Heads: upTo(shape.Heads), KVHeads: upTo(shape.KVHeads), Neurons: upTo(shape.Intermediate)}
	}
	return s
}

// sizesOf is the uncut model without its indices, for a dry run.
func sizesOf(c *config.Config) State {
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

// Shapes lists the present layers' shapes.
func (s State) Shapes() []config.LayerShape {
	out := make([]config.LayerShape, len(s.Layers))
	for i, l := range s.Layers {
		out[i] = l.Shape
	}
	return out
}

// Config is the base model's config with the present layers.
func (s State) Config(base *config.Config) *config.Config {
	c := base.Clone()
	c.Layers = s.Shapes()
	return c
}

// What makes a branch impossible.
var (
	ErrDepth = errors.New("depth would leave fewer than three layers")
	ErrWidth = errors.New("width has nothing left to take")
)

// WithoutLayer deletes the third-to-last layer; the last two are always kept.
func (s State) WithoutLayer() (State, error) {
	if len(s.Layers) <= 3 {
		return s, ErrDepth
	}
	at := len(s.Layers) - 3
	s.Layers = slices.Delete(slices.Clone(s.Layers), at, at+1)
	return s, nil
}

// Reach is the compression that no path of these options can pass: three layers
// left, each as narrow as width steps make it.
func (s State) Reach(base *config.Config, o Options) (float64, error) {
	o, err := o.Resolve(s)
	if err != nil {
		return 0, err
	}
	for next, err := s.WithoutLayer(); err == nil; next, err = s.WithoutLayer() {
		s = next
	}
	c := s.Config(base)
	for l, shape := range c.Layers {
		c.Layers[l] = o.floor(shape)
	}
	return 1 - float64(c.Params())/float64(base.Params()), nil
}

// Check says whether the state can have been cut from a base with these layers:
// what journals and plans hold may come from anywhere. Every layer, or none,
// has its indices.
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
		if err := within(l.Shape, base[l.From]); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		if !finite(l.Carry) {
			return fmt.Errorf("layer %d: carry: want a finite number, got %v", i, l.Carry)
		}
		if l.unnamed() && s.unnamed() {
			continue
		}
		if err := l.checkIndices(base[l.From]); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
	}
	return nil
}

// unnamed reports whether only sizes are known.
func (l Layer) unnamed() bool { return l.Heads == nil && l.KVHeads == nil && l.Neurons == nil }

func (s State) unnamed() bool {
	return !slices.ContainsFunc(s.Layers, func(l Layer) bool { return !l.unnamed() })
}

func (l Layer) checkIndices(base Shape) error {
	for _, x := range []struct {
		what  string
		list  []int
		n, of int
	}{{"heads", l.Heads, l.Shape.Heads, base.Heads}, {"kv_heads", l.KVHeads, l.Shape.KVHeads, base.KVHeads}, {"mlp", l.Neurons, l.Shape.Intermediate, base.Intermediate}} {
		if len(x.list) != x.n {
			return fmt.Errorf("%s: want %d indices, got %d", x.what, x.n, len(x.list))
		}
		last := -1
		for i, k := range x.list {
			if k <= last || k >= x.of {
				return fmt.Errorf("%s: entry %d: want ascending indices below %d, got %d", x.what, i, x.of, k)
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

// within says whether a layer of shape from can be cut to s: nothing grows, and
// KV groups stay whole.
func within(s, from Shape) error {
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
