package train

import (
	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// backward runs the layers in reverse, starting from the gradient in dx.
func (t *Trainer) backward(tokens []int) {
	n, b := len(tokens), &t.buffers
	for i := len(t.layers) - 1; i >= 0; i-- {
		if t.options.Recompute {
			t.dev.Copy(b.x, t.layers[i].input, n)
			t.layerForward(i, n, true)
		}
		inputGrad := i > 0 || t.options.Full
		t.mlpBackward(i, n, inputGrad)
		t.attentionBackward(i, n, inputGrad)
	}
	if g := t.grads[t.weights.Embed]; g != nil {
		t.dev.EmbedBackward(g, b.dx, tokens)
	}
}

// mlpBackward turns dx, the gradient of the MLP block's output, into that of its
// input. Without inputGrad nothing below the layer is trained, and the gradient is
// only computed where the layer's attention block needs it.
func (t *Trainer) mlpBackward(i, n int, inputGrad bool) {
	y, saved, b, d := &t.layers[i], t.layers[i].saved, &t.buffers, t.dev
	if y.Shape.Intermediate == 0 {
		return
	}
	m, dm, dg, du := y.scratch.m, y.scratch.dm, y.scratch.dg, y.scratch.du
	d.SwiGLU(m, saved.gate, saved.up, n)
	t.linearBackward(i, n, dm, b.dx, m, checkpoint.WDown, false)
	d.SwiGLUBackward(dg, du, dm, saved.gate, saved.up, n)
	d.NormForward(b.normed, saved.mlpR, saved.mlpIn, n, y.MLPNorm, t.model.Config.NormEps)
	var dh device.Buffer
	if inputGrad || y.Shape.Heads > 0 {
		dh = b.dh
	}
	t.linearBackward(i, n, dh, dg, b.normed, checkpoint.WGate, false)
	t.linearBackward(i, n, dh, du, b.normed, checkpoint.WUp, true)
	if dh != nil {
		d.NormBackward(b.dx, t.grads[y.MLPNorm], dh, saved.mlpIn, saved.mlpR, n, y.MLPNorm)
	}
}

// attentionBackward turns dx, the gradient of the attention block's output, into that
// of its input, unless nothing below the layer is trained.
func (t *Trainer) attentionBackward(i, n int, inputGrad bool) {
	y, saved, b, d := &t.layers[i], t.layers[i].saved, &t.buffers, t.dev
	s := y.Shape
	if s.Heads == 0 {
		return
	}
	da, dq, dk, dv := y.scratch.da, y.scratch.dq, y.scratch.dk, y.scratch.dv
	t.linearBackward(i, n, da, b.dx, saved.a, checkpoint.WO, false)
	d.AttentionBackward(dq, dk, dv, da, saved.a, saved.stats, saved.q, saved.k, saved.v, y.AttentionShape(), b.spans)
	d.RoPE(dq, s.HeadDim, t.model.RoPE(), b.spans, true)
	d.RoPE(dk, s.HeadDim, t.model.RoPE(), b.spans, true)
	d.NormForward(b.normed, saved.attnR, saved.attnIn, n, y.AttnNorm, t.model.Config.NormEps)
	var dh device.Buffer
	if inputGrad {
		dh = b.dh
	}
	t.linearBackward(i, n, dh, dq, b.normed, checkpoint.WQ, false)
	t.linearBackward(i, n, dh, dk, b.normed, checkpoint.WK, true)
	t.linearBackward(i, n, dh, dv, b.normed, checkpoint.WV, true)
	if dh != nil {
		d.NormBackward(b.dx, t.grads[y.AttnNorm], dh, saved.attnIn, saved.attnR, n, y.AttnNorm)
	}
}

// linearBackward adds the gradients of a projection's weights and adapter, and sets the
// gradient of its input, or adds it. A nil dx leaves out the input's.
func (t *Trainer) linearBackward(i, n int, dx, dy, x device.Buffer, p checkpoint.Param, add bool) {
	y := &t.layers[i]
	w := y.Weight(p)
	t.dev.LinearBackward(dx, t.grads[w], dy, x, y.saved.inner[p], n, w, t.adapterFor(i, p, true), add)
}
