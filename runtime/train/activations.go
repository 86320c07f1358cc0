package train

import (
	"fmt"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
)

// passBuffers hold the residual stream and what all layers share in a pass of N tokens.
type passBuffers struct {
	x, dx, h, dh device.Buffer // [N, D]
	normed       device.Buffer // [N, D], what the projections behind a norm multiply
	last, dlast  device.Buffer // [N, D], normed rows that have labels
	r            device.Buffer // [N, 1], 1/rms of those
	spans        []device.Span
	streams      []uint64 // dropout stream of each span
}

// savedActivations are what a layer's forward pass saves for its backward pass.
type savedActivations struct {
	attnIn, attnR     device.Buffer                      // [N, D], [N, 1]
	q, k, v, a, stats device.Buffer                      // [N, H*Dh], [N, K*Dh] twice, [N, H*Dh], [N, H]
	mlpIn, mlpR       device.Buffer                      // [N, D], [N, 1]
	gate, up          device.Buffer                      // [N, I]
	inner             map[checkpoint.Param]device.Buffer // [N, rank], A x of each adapter
}

// layerScratch holds activations and gradients that are used within one layer's pass.
// Layers of the same sizes share the buffers.
type layerScratch struct {
	m, dm, dg, du device.Buffer // [N, I]
	da, dq        device.Buffer // [N, H*Dh]
	dk, dv        device.Buffer // [N, K*Dh]
}

// Reserve allocates the activations for passes of up to n tokens. A pass does so
// itself; Reserve finds out early whether the memory is sufficient.
func (t *Trainer) Reserve(n int) error {
	if n <= t.capacity {
		return nil
	}
	t.freeActivations()
	if err := t.allocate(n); err != nil {
		t.freeActivations()
		return fmt.Errorf("activations of %d tokens: %w", n, err)
	}
	t.capacity = n
	return nil
}

// allocator makes buffers of n rows until one fails.
type allocator struct {
	dev     device.Device
	n       int
	buffers []device.Buffer
	err     error
}

func (a *allocator) buffer(cols int) device.Buffer {
	if a.err != nil {
		return nil
	}
	var b device.Buffer
	if b, a.err = a.dev.Buffer(a.n, cols); a.err == nil {
		a.buffers = append(a.buffers, b)
	}
	return b
}

// operand makes a buffer for what the projections multiply, or for the gradient of what they
// give. It is nil where that is an ordinary buffer: beside projections whose own gradients are
// computed, beside weights of different types, and on devices that multiply float32.
func (t *Trainer) operand(a *allocator, cols int, gradient bool) device.Buffer {
	var ws []device.Weight
	for i := range t.layers {
		for _, p := range append(checkpoint.Projections(), checkpoint.AttnNorm, checkpoint.MLPNorm) {
			w := t.layers[i].Weight(p)
			if t.grads[w] != nil {
				return nil
			}
			if w != nil {
				ws = append(ws, w)
			}
		}
	}
	if a.err != nil {
		return nil
	}
	var b device.Buffer
	if b, a.err = t.dev.OperandBuffer(a.n, cols, gradient, ws...); b != nil {
		a.buffers = append(a.buffers, b)
	}
	return b
}

// allocate makes all activations of n rows. With Recompute the layers of one shape
// share their saved activations, because only one layer needs them at a time.
func (t *Trainer) allocate(n int) error {
	alloc := &allocator{dev: t.dev, n: n}
	D, b := t.model.Config.HiddenSize, &t.buffers
	b.x, b.dx, b.h, b.dh = alloc.buffer(D), alloc.buffer(D), alloc.buffer(D), alloc.buffer(D)
	b.normed = b.h
	if o := t.operand(alloc, D, false); o != nil {
		b.normed = o
	}
	b.last, b.dlast, b.r = alloc.buffer(D), alloc.buffer(D), alloc.buffer(1)
	scratch := scratchBySize{map[int][4]device.Buffer{}, map[int][2]device.Buffer{}, map[int][2]device.Buffer{}}
	shared := map[config.LayerShape]*savedActivations{}
	for i := range t.layers {
		y := &t.layers[i]
		y.scratch = scratch.of(t, y.Shape, alloc)
		if t.options.Recompute {
			y.input = alloc.buffer(D)
			if y.saved = shared[y.Shape]; y.saved != nil {
				continue
			}
		}
		y.saved = t.newSaved(y, alloc)
		shared[y.Shape] = y.saved
	}
	t.activations = alloc.buffers
	return alloc.err
}

// freeActivations frees what allocate made.
func (t *Trainer) freeActivations() {
	for _, b := range t.activations {
		b.Free()
	}
	t.capacity, t.activations = 0, nil
}

func (t *Trainer) newSaved(y *layer, alloc *allocator) *savedActivations {
	D, s := t.model.Config.HiddenSize, y.Shape
	saved := &savedActivations{inner: map[checkpoint.Param]device.Buffer{}}
	if s.Heads > 0 {
		q, kv := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
		saved.attnIn, saved.attnR = alloc.buffer(D), alloc.buffer(1)
		saved.q, saved.k, saved.v = alloc.buffer(q), alloc.buffer(kv), alloc.buffer(kv)
		saved.a, saved.stats = alloc.buffer(q), alloc.buffer(s.Heads)
	}
	if s.Intermediate > 0 {
		saved.mlpIn, saved.mlpR = alloc.buffer(D), alloc.buffer(1)
		saved.gate, saved.up = alloc.buffer(s.Intermediate), alloc.buffer(s.Intermediate)
	}
	for _, p := range checkpoint.Projections() {
		if y.adapters[p] != nil {
			saved.inner[p] = alloc.buffer(t.options.Rank)
		}
	}
	return saved
}

// scratchBySize keeps the scratch buffers of each size while they are allocated.
type scratchBySize struct {
	mlp       map[int][4]device.Buffer // m, dm, dg, du by I
	query, kv map[int][2]device.Buffer // da, dq by H*Dh; dk, dv by K*Dh
}

// of returns the scratch of a layer.
func (b scratchBySize) of(t *Trainer, s config.LayerShape, alloc *allocator) layerScratch {
	I, q, kv := s.Intermediate, s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	if _, ok := b.mlp[I]; !ok && I > 0 {
		m, dm, dg, du := t.operand(alloc, I, false), alloc.buffer(I), t.operand(alloc, I, true), t.operand(alloc, I, true)
		if m == nil {
			m = alloc.buffer(I)
		}
		if dg == nil {
			dg, du = dm, alloc.buffer(I)
		}
		b.mlp[I] = [4]device.Buffer{m, dm, dg, du}
	}
	if _, ok := b.query[q]; !ok && q > 0 {
		b.query[q] = [2]device.Buffer{alloc.buffer(q), alloc.buffer(q)}
	}
	if _, ok := b.kv[kv]; !ok && kv > 0 {
		b.kv[kv] = [2]device.Buffer{alloc.buffer(kv), alloc.buffer(kv)}
	}
	return layerScratch{
		m: b.mlp[I][0], dm: b.mlp[I][1], dg: b.mlp[I][2], du: b.mlp[I][3],
		da: b.query[q][0], dq: b.query[q][1],
		dk: b.kv[kv][0], dv: b.kv[kv][1],
	}
}
