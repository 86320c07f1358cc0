// Package model runs LLaMA models whose layers may have any shape. It defines the
// forward pass once, over the operations of a device: a checkpoint is loaded onto
// the device, tokens go in, and logits come out.
//
// This file holds the mathematics of a pass. A layer updates the residual stream
// x [T, D] in two blocks:
//
//	x += Wo attention(Wq h, Wk h, Wv h)      h = norm(x)
//	x += Wdown (silu(Wgate h) * (Wup h))     h = norm(x)
//
// and the logits are Whead norm(x).
package model

import (
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/kvcache"
)

// Model is a checkpoint on a device. It runs one pass at a time.
type Model struct {
	Config *config.Config

	dev     device.Device
	rope    device.RoPEFrequencies
	weights Weights
	bytes   int64 // of all weights

	work    workspace
	decoder *GraphDecoder // of the last cache that was decoded by graphs
	phase   device.Phase  // of the last pass
}

// Weights are a model's parameters on its device.
type Weights struct {
	Embed  device.Weight // [V, D]
	Layers []Layer
	Norm   device.Weight // [D]
	Head   device.Weight // [V, D]; Embed itself where the two are tied
}

// Layer is one decoder layer. The weights of a block that the layer lacks are nil.
type Layer struct {
	Shape config.LayerShape

	AttnNorm device.Weight // [D]
	WQ       device.Weight // [H*Dh, D]
	WK, WV   device.Weight // [K*Dh, D]
	WO       device.Weight // [D, H*Dh]

	MLPNorm    device.Weight // [D]
	WGate, WUp device.Weight // [I, D]
	WDown      device.Weight // [D, I]
}

// AttentionShape returns the shape of the layer's attention.
func (y *Layer) AttentionShape() device.AttentionShape {
	return device.AttentionShape{H: y.Shape.Heads, K: y.Shape.KVHeads, Dh: y.Shape.HeadDim}
}

// Weight returns the weight of that name, nil if the layer lacks its block.
func (y *Layer) Weight(p checkpoint.Param) device.Weight { return *y.weight(p) }

func (y *Layer) weight(p checkpoint.Param) *device.Weight {
	switch p {
	case checkpoint.AttnNorm:
		return &y.AttnNorm
	case checkpoint.WQ:
		return &y.WQ
	case checkpoint.WK:
		return &y.WK
	case checkpoint.WV:
		return &y.WV
	case checkpoint.WO:
		return &y.WO
	case checkpoint.MLPNorm:
		return &y.MLPNorm
	case checkpoint.WGate:
		return &y.WGate
	case checkpoint.WUp:
		return &y.WUp
	default:
		return &y.WDown
	}
}

// passRows are the rows of the residual stream that run through some layers.
type passRows struct {
	phase    device.Phase
	cache    *kvcache.Cache
	x        device.Buffer // [N, D]
	n        int           // rows of x that are used
	spans    []device.Span // which sequences and positions they are
	given    []Embeddings  // of rows of x, in place of those of their tokens
	observer Observer      // nil = none
}

// run queues a pass of the tokens from the embedding to the last layer.
func (m *Model) run(r passRows, tokens []int) {
	m.embed(r, tokens)
	m.runLayers(r, 0, len(m.weights.Layers))
}

// embed queues the input of the first layer: the embeddings of the tokens, and those that
// the pass brings instead.
func (m *Model) embed(r passRows, tokens []int) {
	m.dev.Embed(r.x, m.weights.Embed, tokens)
	for _, e := range r.given {
		m.dev.Write(r.x, e.At, e.Rows)
	}
}

// runLayers queues layers first .. end-1.
func (m *Model) runLayers(r passRows, first, end int) {
	residual, observed := r.observer.(ResidualObserver)
	for l := first; l < end; l++ {
		if observed {
			residual.Residual(l, r.x, r.n)
		}
		m.attention(l, r)
		m.mlp(l, r)
	}
	if observed && first < end && end == len(m.weights.Layers) {
		residual.Residual(end, r.x, r.n)
	}
}

// attention queues the attention block of layer l.
func (m *Model) attention(l int, r passRows) {
	y := &m.weights.Layers[l]
	if y.Shape.Heads == 0 {
		return
	}
	q, a, shape := m.work.q[l], m.work.a[l], y.AttentionShape()
	m.qkv(l, r)
	m.dev.Attention(r.phase, a, q, r.cache.Layers[l], shape, r.spans)
	if r.observer != nil {
		r.observer.Attention(l, a, r.n, y.WO, shape)
	}
	m.dev.AddLinear(r.phase, r.x, a, r.n, y.WO)
}

// qkv queues the projections of layer l: queries go to the workspace, keys and values
// to the cache.
func (m *Model) qkv(l int, r passRows) {
	y := &m.weights.Layers[l]
	m.dev.QKV(r.phase, m.work.q[l], r.cache.Layers[l], r.x, y.AttnNorm, y.WQ, y.WK, y.WV, m.Config.NormEps, y.AttentionShape(), m.rope, r.spans)
}

// mlp queues the MLP block of layer l.
func (m *Model) mlp(l int, r passRows) {
	y := &m.weights.Layers[l]
	if y.Shape.Intermediate == 0 {
		return
	}
	mid := m.work.mid[l]
	m.dev.GateUp(r.phase, mid, r.x, r.n, y.MLPNorm, y.WGate, y.WUp, m.Config.NormEps)
	if r.observer != nil {
		r.observer.MLP(l, mid, r.n)
	}
	m.dev.AddLinear(r.phase, r.x, mid, r.n, y.WDown)
}

// lmHead returns the final norm and the output projection over the residual stream
// that the last pass ended with.
func (m *Model) lmHead() device.LMHead {
	return device.LMHead{X: m.work.final, Norm: m.weights.Norm, W: m.weights.Head, Eps: m.Config.NormEps, Phase: m.phase}
}
