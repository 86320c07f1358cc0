package model

import (
	"errors"
	"fmt"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/random"
)

// Sequence is one example of a pass; it attends to itself alone.
type Sequence struct {
	Tokens []int   // BOS first
	Labels []int   // [len(IDs)] the id wanted after each position, -1 = none
	Scale  float32 // what each label's loss counts in the sum
	Stream uint64  // names its dropout
}

// sharedActivations is what the layers share: activations that are made again when they are
// needed, and gradients.
type sharedActivations struct {
	x, dx, h, dh device.Buffer            // [N, D]
	last, dlast  device.Buffer            // [N, D] of the rows that have labels
	r            device.Buffer            // [N, 1] of those
	wide         map[string]device.Buffer // [N, cols], by name and cols
	spans        []device.Span
	streams      []uint64 // one per span
}

// savedActivations is what a layer's forward pass leaves for the backward one.
type savedActivations struct {
	attnIn, attnR     device.Buffer                      // [N, D], [N, 1]
	q, k, v, a, stats device.Buffer                      // [N, H*Dh], [N, K*Dh] twice, [N, H*Dh], [N, H]
	mlpIn, mlpR       device.Buffer                      // [N, D], [N, 1]
	gate, up          device.Buffer                      // [N, I]
	inner             map[checkpoint.Param]device.Buffer // [N, rank] of each adapter
}

// ForwardBackward runs the sequences forward and backward and adds the gradients of
//
//	sum over sequences, over labels: Scale * -log p(label)
//
// to the parameters'. It returns each sequence's sum of -log p, in nats.
func (l *Trainer) ForwardBackward(batch []Sequence) ([]float64, error) {
	ids, nll, err := l.forward(batch, true)
	if err != nil {
		return nil, err
	}
	l.backward(ids)
	return nll, l.dev.Sync()
}

// Loss is Learn without gradients, and without dropout.
func (l *Trainer) Loss(batch []Sequence) ([]float64, error) {
	_, nll, err := l.forward(batch, false)
	return nll, err
}

// forward keeps what backward needs, the gradient by the last layer's output
// included, and returns the ids of all rows.
func (l *Trainer) forward(batch []Sequence, learn bool) (ids []int, nll []float64, err error) {
	ids, err = l.place(batch)
	if err != nil {
		return nil, nil, err
	}
	n, t := len(ids), &l.tape
	l.dev.Embed(t.x, l.m.embed, ids)
	for i := range l.layers {
		if l.options.Recompute {
			l.dev.Copy(l.layers[i].input, t.x, n)
		}
		l.layer(i, n, learn)
	}
	var rows, targets []int
	var scale []float32
	for s, q := range batch {
		for i, label := range q.Labels {
			if label >= 0 {
				rows = append(rows, t.spans[s].Row+i)
				targets, scale = append(targets, label), append(scale, q.Scale)
			}
		}
	}
	each := make([]float64, len(rows))
	if len(rows) > 0 {
		m := l.m
		l.dev.Gather(t.h, t.x, rows)
		l.dev.NormForward(t.last, t.r, t.h, len(rows), m.norm, m.Config.NormEps)
		if !learn {
			l.dev.CrossEntropy(each, nil, nil, t.last, m.head, targets, nil)
		} else {
			l.dev.CrossEntropy(each, t.dlast, l.grads[m.head], t.last, m.head, targets, scale)
			l.dev.Clear(t.dh, len(rows))
			l.dev.NormBackward(t.dh, l.grads[m.norm], t.dlast, t.h, t.r, len(rows), m.norm)
			l.dev.Clear(t.dx, n)
			l.dev.Scatter(t.dx, t.dh, rows)
		}
	}
	nll = make([]float64, len(batch))
	at := 0
	for s, q := range batch {
		for _, label := range q.Labels {
			if label >= 0 {
				nll[s] += each[at]
				at++
			}
		}
	}
	return ids, nll, l.dev.Sync()
}

// backward goes through the layers in reverse, from the gradient in dx.
func (l *Trainer) backward(ids []int) {
	n, t := len(ids), &l.tape
	for i := len(l.layers) - 1; i >= 0; i-- {
		if l.options.Recompute {
			l.dev.Copy(t.x, l.layers[i].input, n)
			l.layer(i, n, true)
		}
		l.layerBack(i, n, i > 0 || l.options.Full)
	}
	if g := l.grads[l.m.embed]; g != nil {
		l.dev.EmbedBackward(g, t.dx, ids)
	}
}

// layer is one layer's forward pass: x += Wo attend(..), x += Wdown gate(..).
func (l *Trainer) layer(i, n int, drop bool) {
	y, k, t, d := &l.m.layers[i], l.layers[i].kept, &l.tape, l.dev
	eps := l.m.Config.NormEps
	project := func(out, in device.Buffer, p checkpoint.Param, add bool) {
		d.LinearForward(out, k.inner[p], in, n, *y.part(p), l.adapterOf(i, p, drop), add)
	}
	if s := y.shape; s.Heads > 0 {
		hs := device.AttentionShape{H: s.Heads, K: s.KVHeads, Dh: s.HeadDim}
		d.Copy(k.attnIn, t.x, n)
		d.NormForward(t.h, k.attnR, t.x, n, y.attnNorm, eps)
		project(k.q, t.h, checkpoint.WQ, false)
		project(k.k, t.h, checkpoint.WK, false)
		project(k.v, t.h, checkpoint.WV, false)
		d.RoPE(k.q, s.HeadDim, l.m.rope, t.spans, false)
		d.RoPE(k.k, s.HeadDim, l.m.rope, t.spans, false)
		d.AttentionForward(k.a, k.stats, k.q, k.k, k.v, hs, t.spans)
		project(t.x, k.a, checkpoint.WO, true)
	}
	if I := y.shape.Intermediate; I > 0 {
		d.Copy(k.mlpIn, t.x, n)
		d.NormForward(t.h, k.mlpR, t.x, n, y.mlpNorm, eps)
		project(k.gate, t.h, checkpoint.WGate, false)
		project(k.up, t.h, checkpoint.WUp, false)
		m := t.wide[key("m", I)]
		d.SwiGLU(m, k.gate, k.up, n)
		project(t.x, m, checkpoint.WDown, true)
	}
}

// layerBack adds to dx, the gradient by the layer's output, what makes it the
// gradient by its input; below the lowest parameter, without input, it need not.
func (l *Trainer) layerBack(i, n int, input bool) {
	y, k, t, d := &l.m.layers[i], l.layers[i].kept, &l.tape, l.dev
	eps := l.m.Config.NormEps
	back := func(din, dout, in device.Buffer, p checkpoint.Param) {
		w := *y.part(p)
		d.LinearBackward(din, l.grads[w], dout, in, k.inner[p], n, w, l.adapterOf(i, p, true))
	}
	cleared := func(name string, cols int) device.Buffer {
		b := t.wide[key(name, cols)]
		d.Clear(b, n)
		return b
	}
	if I := y.shape.Intermediate; I > 0 {
		m := t.wide[key("m", I)]
		d.SwiGLU(m, k.gate, k.up, n)
		dm, du := cleared("dm", I), t.wide[key("du", I)]
		back(dm, t.dx, m, checkpoint.WDown)
		d.SwiGLUBackward(dm, du, dm, k.gate, k.up, n)
		d.NormForward(t.h, k.mlpR, k.mlpIn, n, y.mlpNorm, eps)
		dh := t.dh
		if input || y.shape.Heads > 0 {
			d.Clear(dh, n)
		} else {
			dh = nil
		}
		back(dh, dm, t.h, checkpoint.WGate)
		back(dh, du, t.h, checkpoint.WUp)
		if dh != nil {
			d.NormBackward(t.dx, l.grads[y.mlpNorm], dh, k.mlpIn, k.mlpR, n, y.mlpNorm)
		}
	}
	if s := y.shape; s.Heads > 0 {
		hs := device.AttentionShape{H: s.Heads, K: s.KVHeads, Dh: s.HeadDim}
		da := cleared("da", s.Heads*s.HeadDim)
		dq, dk, dv := cleared("dq", s.Heads*s.HeadDim), cleared("dk", s.KVHeads*s.HeadDim), cleared("dv", s.KVHeads*s.HeadDim)
		back(da, t.dx, k.a, checkpoint.WO)
		d.AttentionBackward(dq, dk, dv, da, k.a, k.stats, k.q, k.k, k.v, hs, t.spans)
		d.RoPE(dq, s.HeadDim, l.m.rope, t.spans, true)
		d.RoPE(dk, s.HeadDim, l.m.rope, t.spans, true)
		d.NormForward(t.h, k.attnR, k.attnIn, n, y.attnNorm, eps)
		dh := t.dh
		if input {
			d.Clear(dh, n)
		} else {
			dh = nil
		}
		back(dh, dq, t.h, checkpoint.WQ)
		back(dh, dk, t.h, checkpoint.WK)
		back(dh, dv, t.h, checkpoint.WV)
		if dh != nil {
			d.NormBackward(t.dx, l.grads[y.attnNorm], dh, k.attnIn, k.attnR, n, y.attnNorm)
		}
	}
}

// adapterOf is a matrix's adapter with the dropout of this pass, nil where there
// is none.
func (l *Trainer) adapterOf(i int, p checkpoint.Param, drop bool) *device.Adapter {
	ad := l.layers[i].adapters[p]
	if ad == nil || l.options.Dropout == 0 {
		return ad
	}
	ad.Drop = device.Dropout{}
	if drop {
		ad.Drop = device.Dropout{Probability: l.options.Dropout, Spans: l.tape.spans}
		name := checkpoint.LayerName(i, p)
		for _, s := range l.tape.streams {
			ad.Drop.Keys = append(ad.Drop.Keys, random.Key(s, name))
		}
	}
	return ad
}

// place checks a batch, lays its sequences one after the other, and makes room.
func (l *Trainer) place(batch []Sequence) (ids []int, err error) {
	t, c := &l.tape, l.m.Config
	t.spans, t.streams = nil, nil
	for s, q := range batch {
		if len(q.Tokens) == 0 || len(q.Labels) != len(q.Tokens) {
			return nil, fmt.Errorf("sequence %d: want as many labels as ids, and some, got %d and %d", s, len(q.Labels), len(q.Tokens))
		}
		if len(q.Tokens) > c.MaxPositions {
			return nil, fmt.Errorf("sequence %d of %d ids: %w of %d", s, len(q.Tokens), ErrContext, c.MaxPositions)
		}
		for i, id := range q.Tokens {
			if id < 0 || id >= c.VocabSize || q.Labels[i] >= c.VocabSize {
				return nil, fmt.Errorf("sequence %d: position %d: id %d, label %d: %w of %d", s, i, id, q.Labels[i], ErrVocabulary, c.VocabSize)
			}
		}
		t.spans = append(t.spans, device.Span{Seq: s, Row: len(ids), Len: len(q.Tokens)})
		t.streams = append(t.streams, q.Stream)
		ids = append(ids, q.Tokens...)
	}
	if len(ids) == 0 {
		return nil, errors.New("no ids to learn from")
	}
	return ids, l.Reserve(len(ids))
}

func key(name string, cols int) string { return fmt.Sprint(name, " ", cols) }
