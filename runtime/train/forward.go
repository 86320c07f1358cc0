package train

import (
	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// ForwardBackward runs the sequences forward and backward, and adds the gradients of
//
//	sum over sequences, sum over labels: -Scale log p(label)
//
// to those of the parameters. It returns each sequence's sum of -log p, in nats.
func (t *Trainer) ForwardBackward(batch []Sequence) ([]float64, error) {
	tokens, nll, err := t.forward(batch, true)
	if err != nil {
		return nil, err
	}
	t.backward(tokens)
	return nll, t.dev.Sync()
}

// Loss is ForwardBackward without gradients and without dropout.
func (t *Trainer) Loss(batch []Sequence) ([]float64, error) {
	_, nll, err := t.forward(batch, false)
	return nll, err
}

// forward runs a batch through all layers. In training it saves what the backward
// pass needs and leaves the gradient of the last layer's output in dx. It returns the
// tokens of all rows and each sequence's sum of -log p.
func (t *Trainer) forward(batch []Sequence, training bool) (tokens []int, nll []float64, err error) {
	tokens, err = t.layOut(batch)
	if err != nil {
		return nil, nil, err
	}
	n, b := len(tokens), &t.buffers
	t.dev.Embed(b.x, t.weights.Embed, tokens)
	for i := range t.layers {
		if t.options.Recompute {
			t.dev.Copy(t.layers[i].input, b.x, n)
		}
		t.layerForward(i, n, training)
	}
	rows, targets, scale := t.labels(batch)
	losses := make([]float64, len(rows))
	if len(rows) > 0 {
		norm, head := t.weights.Norm, t.weights.Head
		t.dev.Gather(b.h, b.x, rows)
		t.dev.NormForward(b.last, b.r, b.h, len(rows), norm, t.model.Config.NormEps)
		if training {
			t.dev.CrossEntropy(losses, b.dlast, t.grads[head], b.last, head, targets, scale)
			t.dev.Clear(b.dh, len(rows))
			t.dev.NormBackward(b.dh, t.grads[norm], b.dlast, b.h, b.r, len(rows), norm)
			t.dev.Clear(b.dx, n)
			t.dev.Scatter(b.dx, b.dh, rows)
		} else {
			t.dev.CrossEntropy(losses, nil, nil, b.last, head, targets, nil)
		}
	}
	if err := t.dev.Sync(); err != nil {
		return nil, nil, err
	}
	return tokens, sumBySequence(batch, losses), nil
}

// layerForward is one layer's forward pass over n rows:
//
//	x += Wo attention(norm(x))
//	x += Wdown (silu(Wgate norm(x)) * (Wup norm(x)))
func (t *Trainer) layerForward(i, n int, dropout bool) {
	y, saved, b, d := &t.layers[i], t.layers[i].saved, &t.buffers, t.dev
	eps, rope := t.model.Config.NormEps, t.model.RoPE()
	project := func(out, in device.Buffer, p checkpoint.Param, add bool) {
		d.LinearForward(out, saved.inner[p], in, n, y.Weight(p), t.adapterFor(i, p, dropout), add)
	}
	if s := y.Shape; s.Heads > 0 {
		d.Copy(saved.attnIn, b.x, n)
		d.NormForward(b.normed, saved.attnR, b.x, n, y.AttnNorm, eps)
		project(saved.q, b.normed, checkpoint.WQ, false)
		project(saved.k, b.normed, checkpoint.WK, false)
		project(saved.v, b.normed, checkpoint.WV, false)
		d.RoPE(saved.q, s.HeadDim, rope, b.spans, false)
		d.RoPE(saved.k, s.HeadDim, rope, b.spans, false)
		d.AttentionForward(saved.a, saved.stats, saved.q, saved.k, saved.v, y.AttentionShape(), b.spans)
		project(b.x, saved.a, checkpoint.WO, true)
	}
	if y.Shape.Intermediate > 0 {
		d.Copy(saved.mlpIn, b.x, n)
		d.NormForward(b.normed, saved.mlpR, b.x, n, y.MLPNorm, eps)
		project(saved.gate, b.normed, checkpoint.WGate, false)
		project(saved.up, b.normed, checkpoint.WUp, false)
		d.SwiGLU(y.scratch.m, saved.gate, saved.up, n)
		project(b.x, y.scratch.m, checkpoint.WDown, true)
	}
}
