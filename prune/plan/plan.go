package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"

	"mop/runtime/config"
)

// Plan is plan.json: how a model was made, whole, without its weights.
type Plan struct {
	Base struct {
		Params int64   `json:"params"`
		Shapes []Shape `json:"shapes"`
		Dim    int     `json:"d_model"`
	} `json:"base"`
	Options
	Criterion string            `json:"criterion"`
	Sequence  string            `json:"sequence,omitempty"`
	Seed      uint64            `json:"seed"`
	Texts     map[string]string `json:"texts,omitempty"`    // role -> sha256
	Settings  map[string]any    `json:"settings,omitempty"` // calibration and criterion, as used
	Targets   []float64         `json:"targets,omitempty"`
	Steps     []Step            `json:"steps"`
	// The checkpoint that the plan lies beside; absent in a dry run.
	Step   int     `json:"step,omitempty"`
	Target float64 `json:"target,omitempty"`
	Layers []Layer `json:"layers,omitempty"`
	Groups float64 `json:"groups,omitempty"`
}

// Step is one turn of the loop.
type Step struct {
	Step        int               `json:"step"` // from 1
	Kind        Kind              `json:"kind"`
	Forced      string            `json:"forced,omitempty"` // why the other branch was impossible
	Params      int64             `json:"params"`
	Compression float64           `json:"compression"`
	Scores      map[Kind]*float64 `json:"scores,omitempty"` // null = not finite
	Shapes      []Shape           `json:"shapes"`
}

// Shape is a layer's size as the plan writes it.
type Shape struct {
	Heads   int `json:"heads"`
	KVHeads int `json:"kv_heads"`
	HeadDim int `json:"head_dim"`
	MLP     int `json:"mlp"`
}

func shapesOf(layers []config.LayerShape) []Shape {
	out := make([]Shape, len(layers))
	for i, s := range layers {
		out[i] = Shape(s)
	}
	return out
}

// Begin is the plan of a base model before its first step.
func Begin(base *config.Config, o Options) *Plan {
	p := &Plan{Options: o}
	p.Base.Params, p.Base.Dim, p.Base.Shapes = base.Params(), base.Dim, shapesOf(base.Layers)
	return p
}

// Add appends a step that led to s.
func (p *Plan) Add(base *config.Config, s State, kind Kind, forced string, scores map[Kind]*float64) *Step {
	params := s.Config(base).Params()
	p.Steps = append(p.Steps, Step{Step: len(p.Steps) + 1, Kind: kind, Forced: forced, Params: params,
		Compression: 1 - float64(params)/float64(p.Base.Params), Scores: scores, Shapes: shapesOf(s.Shapes())})
	return &p.Steps[len(p.Steps)-1]
}

// LayerShapes are the shapes after a step, step 0 being the base.
func (p *Plan) LayerShapes(step int) ([]config.LayerShape, error) {
	if step < 0 || step > len(p.Steps) {
		return nil, fmt.Errorf("step %d: the plan has steps 0 to %d", step, len(p.Steps))
	}
	list := p.Base.Shapes
	if step > 0 {
		list = p.Steps[step-1].Shapes
	}
	out := make([]config.LayerShape, len(list))
	for i, s := range list {
		out[i] = config.LayerShape(s)
	}
	return out, nil
}

// Compressions lists the steps' compressions.
func (p *Plan) Compressions() []float64 {
	out := make([]float64, len(p.Steps))
	for i, s := range p.Steps {
		out[i] = s.Compression
	}
	return out
}

// Take makes one step of the wanted kind, or of the other where that one is
// impossible; forced then says why. Where neither is possible the error joins
// both reasons.
func Take(want Kind, depth, width func() (State, error)) (s State, kind Kind, forced string, err error) {
	branches := map[Kind]func() (State, error){Depth: depth, Width: width}
	if s, err = branches[want](); err == nil {
		return s, want, "", nil
	}
	if !errors.Is(err, ErrDepth) && !errors.Is(err, ErrWidth) {
		return s, want, "", err
	}
	other := Depth
	if want == Depth {
		other = Width
	}
	s, second := branches[other]()
	if second != nil {
		return s, other, "", errors.Join(err, second)
	}
	return s, other, err.Error(), nil
}

// Dry makes a plan from sizes alone: choose gives step n's kind (from 1), and
// false to end; a target above 0 ends the loop where it is reached.
func Dry(base *config.Config, o Options, choose func(n int) (Kind, bool), target float64) (*Plan, error) {
	s := New(base)
	o, err := o.Resolve(s)
	if err != nil {
		return nil, err
	}
	p := Begin(base, o)
	for n := 1; ; n++ {
		kind, ok := choose(n)
		if !ok {
			return p, nil
		}
		next, kind, forced, err := Take(kind, s.WithoutLayer, func() (State, error) { return s.Narrowed(base.Dim, o, 0, nil) })
		if errors.Is(err, ErrDepth) && errors.Is(err, ErrWidth) {
			return p, nil
		}
		if err != nil {
			return nil, err
		}
		s = next
		if st := p.Add(base, s, kind, forced, nil); target > 0 && st.Compression >= target {
			return p, nil
		}
	}
}

// Write writes the plan as JSON.
func (p *Plan) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(p)
}

// Load reads a plan.json.
func Load(path string) (*Plan, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Parse reads a plan and checks that it is one.
func Parse(data []byte) (*Plan, error) {
	if err := config.CheckJSON(data); err != nil {
		return nil, err
	}
	p := &Plan{}
	if err := json.Unmarshal(data, p); err != nil {
		return nil, err
	}
	if len(p.Base.Shapes) == 0 || p.Base.Params < 1 || p.Base.Dim < 1 {
		return nil, errors.New("base: want params, d_model and shapes")
	}
	for i, s := range p.Steps {
		if s.Step != i+1 || s.Kind != Depth && s.Kind != Width || len(s.Shapes) == 0 {
			return nil, fmt.Errorf("step %d: want its number, a kind of depth or width, and shapes", i+1)
		}
	}
	for step := range len(p.Steps) + 1 {
		shapes, _ := p.LayerShapes(step)
		for l, s := range shapes {
			if s.Heads < 0 || s.KVHeads < 0 || s.MLP < 0 || s.HeadDim < 1 || (s.Heads == 0) != (s.KVHeads == 0) || s.KVHeads > 0 && s.Heads%s.KVHeads != 0 {
				return nil, fmt.Errorf("step %d: layer %d: impossible shape %+v", step, l, s)
			}
		}
	}
	last := -1
	for i, l := range p.Layers {
		if l.From <= last || l.From >= len(p.Base.Shapes) {
			return nil, fmt.Errorf("layer %d: want base layers ascending below %d, got %d", i, len(p.Base.Shapes), l.From)
		}
		last = l.From
		b := p.Base.Shapes[l.From]
		for _, x := range []struct {
			what  string
			list  []int
			n, of int
		}{{"heads", l.Heads, l.Shape.Heads, b.Heads}, {"kv_heads", l.KVHeads, l.Shape.KVHeads, b.KVHeads}, {"mlp", l.MLP, l.Shape.MLP, b.MLP}} {
			if len(x.list) != x.n || !slices.IsSorted(x.list) || len(slices.Compact(slices.Clone(x.list))) != x.n || x.n > 0 && (x.list[0] < 0 || x.list[x.n-1] >= x.of) {
				return nil, fmt.Errorf("layer %d: %s: want %d indices below %d, ascending", i, x.what, x.n, x.of)
			}
		}
	}
	return p, nil
}

// Table prints the steps for a person.
func (p *Plan) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "step\tkind\tlayers\theads\tkv heads\tneurons\tparameters\tcompression\t")
	row := func(step int, kind string, shapes []Shape, params int64, c float64) {
		span := func(f func(Shape) int) string {
			lo, hi := f(shapes[0]), f(shapes[0])
			for _, s := range shapes {
				lo, hi = min(lo, f(s)), max(hi, f(s))
			}
			if lo == hi {
				return fmt.Sprint(lo)
			}
			return fmt.Sprintf("%d-%d", lo, hi)
		}
		fmt.Fprintf(t, "%d\t%s\t%d\t%s\t%s\t%s\t%d\t%.2f %%\t\n", step, kind, len(shapes), span(func(s Shape) int { return s.Heads }),
			span(func(s Shape) int { return s.KVHeads }), span(func(s Shape) int { return s.MLP }), params, 100*c)
	}
	row(0, "", p.Base.Shapes, p.Base.Params, 0)
	for _, s := range p.Steps {
		row(s.Step, string(s.Kind), s.Shapes, s.Params, s.Compression)
	}
	return t.Flush()
}
