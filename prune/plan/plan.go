package plan

import (
	"errors"
	"fmt"
	"slices"

	"mop/runtime/config"
)

// Base describes the base model, with what is needed to count parameters.
type Base struct {
	Params     int64   `json:"params"`
	VocabSize  int     `json:"vocab"`   // V
	HiddenSize int     `json:"d_model"` // D
	Tied       bool    `json:"tied"`    // the LM head is the embedding table
	Shapes     []Shape `json:"shapes"`  // [L]
	// Weights is checkpoint.Checksum of the base's weights in hex. It is empty in a dry
	// run.
	Weights string `json:"weights,omitempty"`
	// LatencyMS is the time that a latency table predicts, for the workload in
	// Plan.Settings; 0 without a table.
	LatencyMS float64 `json:"latency_ms,omitempty"`
}

// Plan is the content of plan.json: everything about how a model was pruned, without
// its weights.
type Plan struct {
	Base Base `json:"base"`
	Options
	Method    string            `json:"method,omitempty"` // one of the methods other than MoP; "" = MoP
	Criterion string            `json:"criterion"`
	Sequence  string            `json:"sequence,omitempty"`
	Seed      uint64            `json:"seed"`
	Texts     map[string]string `json:"texts,omitempty"`    // role of a text file -> its sha256
	Settings  map[string]any    `json:"settings,omitempty"` // of calibration and criterion, as used
	Targets   []float64         `json:"targets,omitempty"`
	Steps     []Step            `json:"steps"`
	// The following describe the checkpoint in the plan's directory, which is the model
	// after step Step. They are absent in a dry run.
	Step   int     `json:"step,omitempty"`
	Target float64 `json:"target,omitempty"`
	Groups float64 `json:"groups,omitempty"` // State.Groups
	Layers []Layer `json:"layers,omitempty"` // State.Layers
}

// Step is one pruning step.
type Step struct {
	Step        int               `json:"step"` // from 1
	Kind        Kind              `json:"kind"`
	Layer       *int              `json:"layer,omitempty"`  // that a depth step removes from the model before it; absent = the third-to-last
	Forced      string            `json:"forced,omitempty"` // why the other kind of step was impossible
	Params      int64             `json:"params"`
	Compression float64           `json:"compression"`          // 1 - params / params of the base
	LatencyMS   float64           `json:"latency_ms,omitempty"` // predicted; 0 without a latency table
	Scores      map[Kind]*float64 `json:"scores,omitempty"`     // null = not finite
	Shapes      []Shape           `json:"shapes"`
}

// NewPlan returns the plan of a base model before its first step.
func NewPlan(base *config.Config, o Options) *Plan {
	return &Plan{Options: o, Base: baseOf(base)}
}

func baseOf(c *config.Config) Base {
	return Base{Params: c.Params(), VocabSize: c.VocabSize, HiddenSize: c.HiddenSize, Tied: c.Tied, Shapes: slices.Clone(c.Layers)}
}

// count returns the parameters of the base with other layers.
func (b Base) count(shapes []Shape) int64 {
	c := config.Config{VocabSize: b.VocabSize, HiddenSize: b.HiddenSize, Tied: b.Tied, Layers: shapes}
	return c.Params()
}

// Add appends the step that led to state s.
func (p *Plan) Add(base *config.Config, s State, kind Kind, forced string, scores map[Kind]*float64) *Step {
	params := s.Config(base).Params()
	p.Steps = append(p.Steps, Step{Step: len(p.Steps) + 1, Kind: kind, Forced: forced, Params: params,
		Compression: compression(params, p.Base.Params), Scores: scores, Shapes: s.Shapes()})
	return &p.Steps[len(p.Steps)-1]
}

func compression(params, base int64) float64 { return 1 - float64(params)/float64(base) }

// LayerShapes returns the shapes of the layers after a step. Step 0 is the base.
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

// TargetStep returns the step whose model is in the plan's directory, or the last step
// of a dry run. The plan has at least one step.
func (p *Plan) TargetStep() Step {
	if p.Step == 0 {
		return p.Steps[len(p.Steps)-1]
	}
	return p.Steps[p.Step-1]
}

// Compressions lists the compression after each step.
func (p *Plan) Compressions() []float64 {
	out := make([]float64, len(p.Steps))
	for i, s := range p.Steps {
		out[i] = s.Compression
	}
	return out
}

// Replay returns the state of the checkpoint in the plan's directory, from which it can
// be made again without data, or pruned further. The caller compares the base's weights
// with Base.Weights.
func (p *Plan) Replay(base *config.Config) (State, error) {
	if err := p.Check(); err != nil {
		return State{}, err
	}
	if b := baseOf(base); b.Params != p.Base.Params || b.VocabSize != p.Base.VocabSize || b.HiddenSize != p.Base.HiddenSize || b.Tied != p.Base.Tied {
		return State{}, fmt.Errorf("base: the plan is of a model of %d parameters, vocab %d and hidden size %d, this one has %d, %d and %d",
			p.Base.Params, p.Base.VocabSize, p.Base.HiddenSize, b.Params, b.VocabSize, b.HiddenSize)
	}
	for l, s := range base.Layers {
		if l >= len(p.Base.Shapes) || s != p.Base.Shapes[l] {
			return State{}, fmt.Errorf("base: layer %d is not as in the plan", l)
		}
	}
	if len(p.Layers) == 0 {
		return State{}, errors.New("layers: the plan is of sizes alone: it has no indices of heads and neurons")
	}
	return State{Layers: p.Layers, Groups: p.Groups}, nil
}

// SameLayers reports whether both plans keep the same layers, heads and neurons.
func (p *Plan) SameLayers(q *Plan) bool {
	return slices.EqualFunc(p.Layers, q.Layers, func(a, b Layer) bool {
		return a.From == b.From && a.Shape == b.Shape && slices.Equal(a.Heads, b.Heads) && slices.Equal(a.KVHeads, b.KVHeads) && slices.Equal(a.Neurons, b.Neurons)
	})
}
