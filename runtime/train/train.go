// Package train computes the gradients of a model's loss and trains its parameters
// with AdamW: either all of them, in float32, or low-rank adapters (LoRA) beside
// frozen weights.
//
// A Trainer runs the same layers as model.Model, but saves the activations that the
// backward pass needs. y' stands for the gradient of the loss with respect to y.
package train

import (
	"fmt"
	"math"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/model"
)

// Options say which parameters of a model are trained, and how.
type Options struct {
	Full    bool               // train every parameter in float32, instead of adapters
	Rank    int                // of the adapters
	Alpha   float64            // adapters are scaled by Alpha/Rank
	Dropout float64            // probability in [0, 1), of the adapters' inputs
	Targets []checkpoint.Param // projections that get an adapter
	// Adapter says which projections get an adapter instead of Targets, with its rank and
	// the alpha of its scale; nil = those of Targets, all alike.
	Adapter func(layer int, p checkpoint.Param) (rank int, alpha float64, ok bool)
	// Gradients says of which projections the gradients are computed, and nothing is
	// trained: the weights stay as they are stored. Full and adapters are excluded.
	Gradients func(layer int, p checkpoint.Param) bool
	Recompute bool   // save only each layer's input; run the layer again in the backward pass
	Seed      uint64 // of the adapters' initial values
}

// Param is a trained tensor: its value, its gradient and AdamW's two moments.
type Param struct {
	Name        string
	Value, Grad device.Buffer // [rows, cols]
	m, v        device.Buffer
}

// Moments returns AdamW's running means of the gradient and of its square.
func (p *Param) Moments() (m, v device.Buffer) { return p.m, p.v }

// Trainer trains a model on its device.
type Trainer struct {
	Params []*Param // in a fixed order

	model    *model.Model
	weights  model.Weights
	dev      device.Trainer
	options  Options
	layers   []layer
	grads    map[device.Weight]device.Buffer // of every weight, in full training
	buffers  passBuffers
	capacity int // rows that the buffers hold

	gradients []device.Buffer // of Options.Gradients

	activations []device.Buffer // all that buffers and layers have
}

// layer is what training adds to a layer of the model.
type layer struct {
	*model.Layer
	adapters map[checkpoint.Param]*device.Adapter // of the projections that have one
	saved    *savedActivations
	scratch  layerScratch
	input    device.Buffer // [N, D], with Recompute
}

// New prepares a loaded model for training. In full training the model's weights are
// replaced by float32 parameters read from src, and the stored ones are dropped.
// Otherwise the model stays as it is.
func New(m *model.Model, src checkpoint.Source, o Options) (*Trainer, error) {
	dev, err := device.AsTrainer(m.Device())
	if err != nil {
		return nil, err
	}
	t := &Trainer{model: m, dev: dev, options: o, grads: map[device.Weight]device.Buffer{}}
	if o.Full {
		if err := t.addAllParams(src); err != nil {
			t.Close()
			return nil, err
		}
	}
	t.weights = m.Weights()
	t.layers = make([]layer, len(t.weights.Layers))
	for i := range t.layers {
		t.layers[i].Layer = &t.weights.Layers[i]
	}
	add := t.addAdapters
	switch {
	case o.Full:
		return t, nil
	case o.Gradients != nil:
		add = t.addGradients
	}
	if err := add(); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// Close frees the parameters, their gradients and moments, and the activations. In full
// training the model's weights are these parameters, so that the model cannot be used
// afterwards either.
func (t *Trainer) Close() {
	t.freeActivations()
	for _, p := range t.Params {
		p.free()
	}
	for _, b := range t.gradients {
		b.Free()
	}
}

// free frees the buffers that were made.
func (p *Param) free() {
	for _, b := range []device.Buffer{p.Value, p.Grad, p.m, p.v} {
		if b != nil {
			b.Free()
		}
	}
}

// addAllParams replaces every weight of the model by a float32 parameter.
func (t *Trainer) addAllParams(src checkpoint.Source) error {
	return t.model.ReplaceWeights(func(info checkpoint.TensorInfo) (device.Weight, error) {
		tensor, err := src.Tensor(info.Name)
		if err != nil {
			return nil, err
		}
		vector := len(info.Shape) == 1
		rows, cols := 1, info.Shape[0]
		if !vector {
			rows, cols = info.Shape[0], info.Shape[1]
		}
		p, err := t.addParam(info.Name, rows, cols)
		if err != nil {
			return nil, err
		}
		t.dev.Write(p.Value, 0, checkpoint.Float32s(tensor))
		w := t.dev.Parameter(p.Value, vector)
		t.grads[w] = p.Grad
		return w, nil
	})
}

func (t *Trainer) addParam(name string, rows, cols int) (*Param, error) {
	p := &Param{Name: name}
	for _, b := range []*device.Buffer{&p.Value, &p.Grad, &p.m, &p.v} {
		var err error
		if *b, err = t.dev.Buffer(rows, cols); err != nil {
			p.free()
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	t.Params = append(t.Params, p)
	return p, nil
}

// Config returns the model's configuration.
func (t *Trainer) Config() *config.Config { return t.model.Config }

// ClearGradients sets all gradients to zero.
func (t *Trainer) ClearGradients() {
	for _, p := range t.Params {
		t.dev.Clear(p.Grad, p.Grad.Rows())
	}
	for _, b := range t.gradients {
		t.dev.Clear(b, b.Rows())
	}
}

// GradientNorm returns the Euclidean norm of all gradients together.
func (t *Trainer) GradientNorm() (float64, error) {
	all := make([]device.Buffer, len(t.Params))
	for i, p := range t.Params {
		all[i] = p.Grad
	}
	sum := t.dev.SumSquares(all...)
	return math.Sqrt(sum), t.dev.Sync()
}

// Step updates every parameter with AdamW. Weight decay does not apply to vectors,
// such as the weights of norms.
func (t *Trainer) Step(s device.AdamW) error {
	for _, p := range t.Params {
		q := s
		if p.Value.Rows() == 1 && t.options.Full {
			q.WeightDecay = 0
		}
		t.dev.AdamW(p.Value, p.Grad, p.m, p.v, q)
	}
	return t.dev.Sync()
}
