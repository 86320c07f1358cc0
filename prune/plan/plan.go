package plan

import (
	"fmt"
	"slices"

	"mop/runtime/config"
)

// Base is what a plan knows of the uncut model: enough to count parameters.
type Base struct {
	Params     int64   `json:"params"`
	VocabSize  int     `json:"vocab"`   // V
	HiddenSize int     `json:"d_model"` // D
	Tied       bool    `json:"tied"`    // the head is the embedding table
	Shapes     []Shape `json:"shapes"`  // [L]
	// Weights tells the base from others of its shapes: checkpoint.Sum in hex,
	// empty in a dry run.
	Weights string `json:"weights,omitempty"`
}

// Plan is plan.json: how a model was made, whole, without its weights.
type Plan struct {
	Base Base `json:"base"`
	Options
	Criterion string            `json:"criterion"`
	Sequence  string            `json:"sequence,omitempty"`
	Seed      uint64            `json:"seed"`
	Texts     map[string]string `json:"texts,omitempty"`    // role -> sha256
	Settings  map[string]any    `json:"settings,omitempty"` // calibration and criterion, as used
	Targets   []float64         `json:"targets,omitempty"`
	Steps     []Step            `json:"steps"`
	// The checkpoint that the plan lies beside, which is the model after Step of
	// the Steps; absent in a dry run.
	Step   int     `json:"step,omitempty"`
	Target float64 `json:"target,omitempty"`
	Groups float64 `json:"groups,omitempty"` // State.Groups
	Layers []Layer `json:"layers,omitempty"` // State.Layers
}

// Step is one turn of the loop.
type Step struct {
	Step        int               `json:"step"` // from 1
	Kind        Kind              `json:"kind"`
	Forced      string            `json:"forced,omitempty"` // why the other branch was impossible
	Params      int64             `json:"params"`
	Compression float64           `json:"compression"`      // 1 - params/params of the base
	Scores      map[Kind]*float64 `json:"scores,omitempty"` // null = not finite
	Shapes      []Shape           `json:"shapes"`
}

// Begin is the plan of a base model before its first step.
func Begin(base *config.Config, o Options) *Plan {
	return &Plan{Options: o, Base: baseOf(base)}
}

func baseOf(c *config.Config) Base {
	return Base{Params: c.Params(), VocabSize: c.VocabSize, HiddenSize: c.HiddenSize, Tied: c.Tied, Shapes: slices.Clone(c.Layers)}
}

// count is the parameters of the base with other layers.
func (b Base) count(shapes []Shape) int64 {
	c := config.Config{VocabSize: b.VocabSize, HiddenSize: b.HiddenSize, Tied: b.Tied, Layers: shapes}
	return c.Params()
}

// Add appends a step that led to s.
func (p *Plan) Add(base *config.Config, s State, kind Kind, forced string, scores map[Kind]*float64) *Step {
	params := s.Config(base).Params()
	p.Steps = append(p.Steps, Step{Step: len(p.Steps) + 1, Kind: kind, Forced: forced, Params: params,
		Compression: compression(params, p.Base.Params), Scores: scores, Shapes: s.Shapes()})
	return &p.Steps[len(p.Steps)-1]
}

func compression(params, base int64) float64 { return 1 - float64(params)/float64(base) }

// LayerShapes are the shapes after a step, step 0 being the base.
func (p *Plan) LayerShapes(step int) ([]config.LayerShape, error) {
	if step < 0 || step > len(p.Steps) {
		return nil, fmt.Errorf("step %d: the plan has steps 0 to %d", step, len(p.Steps))
	}
	return slices.Clone(p.shapes(step)), nil
}

func (p *Plan) shapes(step int) []Shape {
	if step == 0 {
		return p.Base.Shapes
	}
	return p.Steps[step-1].Shapes
}

// Made is the step whose model the plan lies beside; that of a dry run is its
// last. The plan has steps.
func (p *Plan) Made() Step {
	if p.Step == 0 {
		return p.Steps[len(p.Steps)-1]
	}
	return p.Steps[p.Step-1]
}

// Compressions lists the steps' compressions.
func (p *Plan) Compressions() []float64 {
	out := make([]float64, len(p.Steps))
	for i, s := range p.Steps {
		out[i] = s.Compression
	}
	return out
}

// Replay is the state of the checkpoint that the plan lies beside, to be cut
// again from its base without any data. It can also be pruned on. Whether the
// base's weights are Base.Weights is the caller's to ask.
func (p *Plan) Replay(base *config.Config) (State, error) {
	if err := p.Check(); err != nil {
		return State{}, err
	}
	if b := baseOf(base); b.Params != p.Base.Params || b.VocabSize != p.Base.VocabSize || b.HiddenSize != p.Base.HiddenSize || b.Tied != p.Base.Tied {
		return State{}, fmt.Errorf("base: the plan is of a model of %d parameters, vocab %d and width %d, this one has %d, %d and %d",
			p.Base.Params, p.Base.VocabSize, p.Base.HiddenSize, b.Params, b.VocabSize, b.HiddenSize)
	}
	for l, s := range base.Layers {
		if l >= len(p.Base.Shapes) || s != p.Base.Shapes[l] {
			return State{}, fmt.Errorf("base: layer %d is not as in the plan", l)
		}
	}
	if len(p.Layers) == 0 {
		return State{}, fmt.Errorf("layers: the plan is of sizes alone: it does not say which heads and neurons stay")
	}
	return State{Layers: p.Layers, Groups: p.Groups}, nil
}

// SameLayers reports whether both plans' models are cut alike.
func (p *Plan) SameLayers(q *Plan) bool {
	return slices.EqualFunc(p.Layers, q.Layers, func(a, b Layer) bool {
		return a.From == b.From && a.Shape == b.Shape && slices.Equal(a.Heads, b.Heads) && slices.Equal(a.KVHeads, b.KVHeads) && slices.Equal(a.Neurons, b.Neurons)
	})
}
