package score

import (
	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/model"
)

// Options choose the scores of heads and of neurons by their names.
type Options struct {
	Heads, Neurons string // "" = the default
	Seed           uint64 // of random
}

// New returns the method of the options: one of the table, or two of them together.
func New(o Options) (Method, error) {
	var both [2]Method
	for i, name := range []string{o.Heads, o.Neurons} {
		if name == "" {
			name = Methods()[0].Name()
		}
		m, err := ByName(name)
		if err != nil {
			return nil, err
		}
		if s, ok := m.(interface{ withSeed(uint64) Method }); ok {
			m = s.withSeed(o.Seed)
		}
		both[i] = m
	}
	if both[0].Name() == both[1].Name() {
		return both[0], nil
	}
	return combined{both[0], both[1]}, nil
}

// combined takes the scores of heads from one method and those of neurons from another.
type combined struct{ heads, neurons Method }

func (c combined) Name() string { return c.heads.Name() + "+" + c.neurons.Name() }
func (c combined) Summary() string {
	return "heads: " + c.heads.Summary() + "; neurons: " + c.neurons.Summary()
}

func (c combined) Needs() Needs {
	heads, neurons := c.heads.Needs(), c.neurons.Needs()
	return Needs{Prompts: heads.Prompts || neurons.Prompts, Gradients: heads.Gradients || neurons.Gradients}
}

func (c combined) NewAccumulator(m *model.Model, prompts int) Accumulator {
	return &combinedAccumulator{c.heads.NewAccumulator(m, prompts), c.neurons.NewAccumulator(m, prompts)}
}

type combinedAccumulator struct{ heads, neurons Accumulator }

func (a *combinedAccumulator) readWeights(src checkpoint.Source) error {
	for _, x := range []Accumulator{a.heads, a.neurons} {
		if w, ok := x.(weighted); ok {
			if src == nil {
				return errNoWeights
			}
			if err := w.readWeights(src); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *combinedAccumulator) Attention(layer int, x device.Buffer, n int, wo device.Weight, shape device.AttentionShape) {
	a.heads.Attention(layer, x, n, wo, shape)
}

func (a *combinedAccumulator) MLP(layer int, mid device.Buffer, n int) {
	a.neurons.MLP(layer, mid, n)
}

func (a *combinedAccumulator) EndPrompt(tokens int) {
	a.heads.EndPrompt(tokens)
	a.neurons.EndPrompt(tokens)
}

func (a *combinedAccumulator) Scores() *plan.Scores {
	return &plan.Scores{Heads: a.heads.Scores().Heads, Neurons: a.neurons.Scores().Neurons}
}
