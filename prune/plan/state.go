// Package plan is MoP as pure data: how many layers, heads and neurons every
// step leaves, which of the base model's they are, and how each step was
// decided. What flows in: the base model's shapes and, for a real run, scores.
// What flows out: shapes, kept indices, and plan.json.
//
// The rules are those of "Compressing LLMs with MoP: Mixture of Pruners" (arXiv
// 2602.06127) and its released runs.
package plan

import (
	"errors"
	"slices"

	"mop/runtime/config"
)

// Kind is what a step cuts.
type Kind string

const (
	Depth Kind = "depth" // the third-to-last layer
	Width Kind = "width" // heads and neurons of all layers
)

// Layer is one layer of the current model. The index lists name what is left of
// the base layer, ascending; they are nil in a dry run, which knows only sizes.
type Layer struct {
	From    int               `json:"from"`     // base layer
	Shape   config.LayerShape `json:"shape"`    // present size
	Heads   []int             `json:"heads"`    // [H] base query heads
	KVHeads []int             `json:"kv_heads"` // [K] base key/value heads
	MLP     []int             `json:"mlp"`      // [I] base neurons
	Carry   float64           `json:"carry"`    // parameters that rounding has left to remove
}

// State is the current model as data; it is a value, no step changes another.
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
		s.Layers[l] = Layer{From: l, Shape: shape, Heads: upTo(shape.Heads), KVHeads: upTo(shape.KVHeads), MLP: upTo(shape.MLP)}
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
