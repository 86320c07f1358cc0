package model

import (
	"fmt"
	"math"
	"slices"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/random"
)

// TrainOptions say what of a model is trained, and how.
type TrainOptions struct {
	Full      bool               // every parameter, in float32; else adapters
	Rank      int                // of the adapters
	Alpha     float64            // their scale is Alpha/Rank
	Dropout   float64            // of the adapters' inputs, in [0, 1)
	Targets   []checkpoint.Param // matrices that get an adapter
	Recompute bool               // keep only each layer's input, run the layer again for its gradients
	Seed      uint64             // of the adapters' first values
}

// Param is a trained tensor: its value, gradient and AdamW's moments.
type Param struct {
	Name        string
	Value, Grad device.Buffer // [rows, cols]
	m, v        device.Buffer
}

// Moments are AdamW's running means of the gradient and of its square.
func (p *Param) Moments() (m, v device.Buffer) { return p.m, p.v }

// Trainer trains a model: a forward pass that keeps what the backward pass needs,
// and the backward pass, over the same layers as Forward.
type Trainer struct {
	Params []*Param // in a fixed order

	m       *Model
	dev     device.Trainer
	options TrainOptions
	layers  []trainedLayer
	grads   map[device.Weight]device.Buffer // full training: of every weight
	tape    sharedActivations
	rows    int // that the buffers hold
}

// trainedLayer is what training adds to a layer.
type trainedLayer struct {
	adapters map[checkpoint.Param]*device.Adapter // nil = none on it
	kept     *savedActivations                    // what the forward pass left
	input    device.Buffer                        // [N, D], with Recompute
}

// NewTrainer prepares a loaded model for training. With Full its weights are
// replaced by float32 ones of the learner's own, made of src; else they stay as
// they are.
func NewTrainer(m *Model, src checkpoint.Source, o TrainOptions) (*Trainer, error) {
	dev, ok := m.dev.(device.Trainer)
	if !ok {
		return nil, fmt.Errorf("device %s: cannot train", m.dev.Capabilities().Name)
	}
	l := &Trainer{m: m, dev: dev, options: o, layers: make([]trainedLayer, len(m.layers)), grads: map[device.Weight]device.Buffer{}}
	if o.Full {
		return l, l.own(src)
	}
	if o.Rank < 1 {
		return nil, fmt.Errorf("rank: want at least 1, got %d", o.Rank)
	}
	if !(o.Dropout >= 0 && o.Dropout < 1) {
		return nil, fmt.Errorf("dropout: want a share in [0, 1), got %v", o.Dropout)
	}
	for i, y := range m.layers {
		l.layers[i].adapters = map[checkpoint.Param]*device.Adapter{}
		for _, p := range checkpoint.Projections() {
			w := *y.part(p)
			if w == nil || !slices.Contains(o.Targets, p) {
				continue
			}
			ad, err := l.adapter(i, p, w.Shape()[0], w.Shape()[1])
			if err != nil {
				return nil, fmt.Errorf("layer %d: %w", i, err)
			}
			l.layers[i].adapters[p] = ad
		}
	}
	if len(l.Params) == 0 {
		return nil, fmt.Errorf("nothing to train: no layer has any of %v", o.Targets)
	}
	return l, nil
}

// adapter makes a matrix's adapter: A uniform in +-1/sqrt(in), B zero.
func (l *Trainer) adapter(layer int, p checkpoint.Param, out, in int) (*device.Adapter, error) {
	o := l.options
	ad := &device.Adapter{Scale: float32(o.Alpha / float64(o.Rank))}
	for _, half := range []struct {
		name        string
		rows, cols  int
		value, grad *device.Buffer
	}{{"A", o.Rank, in, &ad.A, &ad.DA}, {"B", out, o.Rank, &ad.B, &ad.DB}} {
		q, err := l.param(checkpoint.AdapterName(layer, p, half.name), half.rows, half.cols)
		if err != nil {
			return nil, err
		}
		*half.value, *half.grad = q.Value, q.Grad
	}
	first := make([]float32, o.Rank*in)
	key, scale := random.Key(o.Seed, checkpoint.AdapterName(layer, p, "A")), random.Scale(1/math.Sqrt(3*float64(in)))
	for i := range first {
		first[i] = random.Uniform(key, uint64(i), scale)
	}
	l.dev.Write(ad.A, 0, first)
	return ad, nil
}

func (l *Trainer) param(name string, rows, cols int) (*Param, error) {
	p := &Param{Name: name}
	for _, b := range []*device.Buffer{&p.Value, &p.Grad, &p.m, &p.v} {
		var err error
		if *b, err = l.dev.Buffer(rows, cols); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	l.Params = append(l.Params, p)
	return p, nil
}

// own replaces every weight by a float32 parameter.
func (l *Trainer) own(src checkpoint.Source) error {
	m := l.m
	weights := m.weights()
	for _, info := range checkpoint.ExpectedTensors(m.Config) {
		t, err := src.Tensor(info.Name)
		if err != nil {
			return err
		}
		rows, cols := 1, info.Shape[0]
		if len(info.Shape) == 2 {
			rows, cols = info.Shape[0], info.Shape[1]
		}
		p, err := l.param(info.Name, rows, cols)
		if err != nil {
			return err
		}
		l.dev.Write(p.Value, 0, checkpoint.Float32s(t))
		w := l.dev.Parameter(p.Value, len(info.Shape) == 1)
		*weights[info.Name], l.grads[w] = w, p.Grad
	}
	if m.Config.Tied {
		m.head = m.embed
	}
	return nil
}

// part is the layer's weight of that name.
func (y *layer) part(p checkpoint.Param) *device.Weight {
	return map[checkpoint.Param]*device.Weight{
		checkpoint.AttnNorm: &y.attnNorm, checkpoint.WQ: &y.wq, checkpoint.WK: &y.wk, checkpoint.WV: &y.wv, checkpoint.WO: &y.wo,
		checkpoint.MLPNorm: &y.mlpNorm, checkpoint.WGate: &y.wgate, checkpoint.WUp: &y.wup, checkpoint.WDown: &y.wdown,
	}[p]
}

// Config is that of the model.
func (l *Trainer) Config() *config.Config { return l.m.Config }

// Reserve makes the activations of passes of up to n tokens, so that what has no room
// fails before anything is computed.
func (l *Trainer) Reserve(n int) error {
	if n <= l.rows {
		return nil
	}
	l.rows = 0
	if err := l.reserve(n); err != nil {
		return fmt.Errorf("activations of %d tokens: %w", n, err)
	}
	l.rows = n
	return nil
}

// ClearGradients begins a new sum.
func (l *Trainer) ClearGradients() {
	for _, p := range l.Params {
		l.dev.Clear(p.Grad, p.Grad.Rows())
	}
}

// GradientNorm is the square root of the sum of all gradients' squares.
func (l *Trainer) GradientNorm() (float64, error) {
	sum := 0.0
	for _, p := range l.Params {
		sum += l.dev.SumSquares(p.Grad)
	}
	return math.Sqrt(sum), l.dev.Sync()
}

// Step takes a step of AdamW on every parameter; norms and other vectors do not
// decay.
func (l *Trainer) Step(s device.AdamW) error {
	for _, p := range l.Params {
		q := s
		if p.Value.Rows() == 1 && l.options.Full {
			q.WeightDecay = 0
		}
		l.dev.AdamW(p.Value, p.Grad, p.m, p.v, q)
	}
	return l.dev.Sync()
}

// HasAdapter reports whether a matrix has an adapter.
func (l *Trainer) HasAdapter(layer int, p checkpoint.Param) bool {
	return l.layers[layer].adapters[p] != nil
}

// Delta is what a matrix's adapter adds to it: s B A, [out, in].
func (l *Trainer) Delta(layer int, p checkpoint.Param) ([]float32, error) {
	ad := l.layers[layer].adapters[p]
	out, in := ad.B.Rows(), ad.A.Cols()
	b, err := l.dev.Buffer(out, in)
	if err != nil {
		return nil, err
	}
	l.dev.LinearBackward(b, nil, ad.B, nil, nil, out, l.dev.Parameter(ad.A, false), nil)
	delta := make([]float32, out*in)
	l.dev.Read(delta, b, 0, out)
	if err := l.dev.Sync(); err != nil {
		return nil, err
	}
	for i := range delta {
		delta[i] *= ad.Scale
	}
	return delta, nil
}
