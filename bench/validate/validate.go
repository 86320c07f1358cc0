// Package validate answers whether a pruned model's shapes are worth having on a device:
// predicted and measured time, where the time goes, what rounding the widths would cost
// and gain, and whether the latency table knows better shapes of the same size.
package validate

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"mop/bench/sweep"
	"mop/prune/plan"
	"mop/prune/search"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/predict"
)

// Subject is what is validated.
type Subject struct {
	Name string
	Base *config.Config // the dense model, with the table's sizes
	// Layers are those of the pruned model.
	Layers []config.LayerShape
	From   []int // the base's layers that they come from

	model *config.Config // a model without a plan
}

// Open reads a plan.json, a directory with one, or a directory of a model alone, whose
// dense model is then that of the table.
func Open(name string) (*Subject, error) {
	file := name
	if st, err := os.Stat(name); err != nil {
		return nil, err
	} else if st.IsDir() {
		file = filepath.Join(name, "plan.json")
	}
	s := &Subject{Name: name}
	if _, err := os.Stat(file); err == nil {
		p, err := plan.Load(file)
		if err != nil {
			return nil, err
		}
		if len(p.Steps) == 0 {
			return nil, fmt.Errorf("%s: the plan has no steps", file)
		}
		s.Base = configOf(p.Base.VocabSize, p.Base.HiddenSize, p.Base.Tied, p.Base.Shapes)
		s.Layers = p.TargetStep().Shapes
		for _, l := range p.Layers {
			s.From = append(s.From, l.From)
		}
		return s, nil
	}
	c, err := config.Load(filepath.Join(name, "config.json"))
	if err != nil {
		return nil, err
	}
	s.model, s.Layers = c, c.Layers
	return s, nil
}

// UseTable completes the subject by a table's dense model where it has none, and refuses a table
// of another one.
func (s *Subject) UseTable(t *predict.Table) error {
	m := t.Model
	if s.Base != nil {
		if err := t.CheckModel(s.Base); err != nil {
			return err
		}
	} else if err := t.CheckModel(s.model); err != nil {
		return err
	} else {
		s.Base = configOf(m.VocabSize, m.HiddenSize, m.Tied, m.Shapes)
	}
	s.fillFrom()
	return nil
}

// fillFrom fills in From where it follows from the number of layers.
func (s *Subject) fillFrom() {
	if len(s.From) == 0 && len(s.Layers) == len(s.Base.Layers) {
		for l := range s.Layers {
			s.From = append(s.From, l)
		}
	}
}

// configOf is a config that suffices to run random weights.
func configOf(vocab, hidden int, tied bool, shapes []config.LayerShape) *config.Config {
	return &config.Config{VocabSize: vocab, HiddenSize: hidden, HeadDim: shapes[0].HeadDim, Layers: shapes, RopeTheta: 1e4, NormEps: 1e-5,
		MaxPositions: 1 << 20, Tied: tied, BOS: -1, DType: "bfloat16"}
}

// Page is the result. Times are in milliseconds.
type Page struct {
	Name        string           `json:"name"`
	Workload    predict.Workload `json:"workload"`
	Machine     predict.Source   `json:"machine"`
	Params      int64            `json:"params"`
	DenseParams int64            `json:"dense_params"`
	Compression float64          `json:"compression"`

	DensePredicted float64  `json:"dense_predicted_ms"`
	Predicted      float64  `json:"predicted_ms"`
	DenseMeasured  *float64 `json:"dense_measured_ms,omitempty"`
	Measured       *float64 `json:"measured_ms,omitempty"`
	Disturbed      bool     `json:"disturbed,omitempty"` // the measured times are too long

	Gain               float64 `json:"gain"` // share of latency saved, measured where it was
	GainPerCompression float64 `json:"gain_per_compression"`

	// EqualWidth is the width that all layers of the dense model would have in a model of
	// the same predicted time, 0 where there is none.
	EqualWidth int `json:"equal_width"`

	Profile  *sweep.Profile `json:"-"`
	Parts    []Part         `json:"parts,omitempty"`
	Slowest  []LayerTime    `json:"slowest_layers,omitempty"`
	Rounding []Rounding     `json:"rounding"`
	Better   *Alternative   `json:"better,omitempty"` // shapes of the same size that are faster
	Quality  *Quality       `json:"quality,omitempty"`
	Verdict  string         `json:"verdict"`
	Friendly bool           `json:"friendly"`
}

// Part is what one operation of all layers takes.
type Part struct {
	Op      string  `json:"op"`
	Prefill float64 `json:"prefill_ms"`
	Decode  float64 `json:"decode_ms"` // of one step
}

// LayerTime is what one layer takes in a decode step.
type LayerTime struct {
	Layer  int               `json:"layer"`
	Shape  config.LayerShape `json:"shape"`
	Decode float64           `json:"decode_ms"`
}

// Rounding is what rounding all MLP widths to multiples would do.
type Rounding struct {
	Multiple int     `json:"multiple"`
	Up       bool    `json:"up"`
	Params   float64 `json:"params"`  // change, as a share of the plan's
	Latency  float64 `json:"latency"` // predicted change, as a share of the plan's
}

// Alternative is a plan of the same size.
type Alternative struct {
	What      string              `json:"what"`
	Predicted float64             `json:"predicted_ms"`
	Params    int64               `json:"params"`
	Shapes    []config.LayerShape `json:"shapes"`
	Loss      float64             `json:"loss,omitempty"` // see Quality
}

// Quality compares the plan with others by the losses of single blocks that a search
// measured. A loss is the sum of the KL divergences of all blocks, each made smaller alone;
// it ranks plans and is not the divergence of the whole model.
type Quality struct {
	Loss float64 `json:"loss"`
	// Better has the least loss among those of the plan's predicted time, Faster the least
	// time among those of the plan's loss; nil where the plan is as good.
	Better *Alternative `json:"better,omitempty"`
	Faster *Alternative `json:"faster,omitempty"`
}

// compareQuality looks for plans that lose less, or that are faster.
func compareQuality(p *predict.Predictor, s *Subject, known *search.BlockLosses, ms float64) (*Quality, error) {
	if len(s.From) != len(s.Layers) {
		return nil, fmt.Errorf("%s: %d layers of %d: which ones are kept is not known: give its plan.json", s.Name, len(s.Layers), len(s.Base.Layers))
	}
	all := &Subject{Base: s.Base, Layers: s.Base.Layers}
	all.fillFrom()
	q := &Quality{Loss: known.Sum(s.From, s.Layers)}
	alternative := func(shapes []config.LayerShape) *Alternative {
		return &Alternative{What: "a shape for each layer", Predicted: p.Latency(shapes), Params: params(s.Base, shapes), Shapes: shapes, Loss: known.Sum(all.From, shapes)}
	}
	if shapes := known.Within(p, ms); shapes != nil {
		if a := alternative(shapes); a.Loss < 0.98*q.Loss {
			q.Better = a
		}
	}
	if shapes := known.Fastest(p, q.Loss, ms); shapes != nil {
		if a := alternative(shapes); a.Predicted < 0.98*ms {
			q.Faster = a
		}
	}
	return q, nil
}

// Run validates shapes. losses are those of single blocks, nil = unknown. Without a device,
// only predictions are made.
func Run(ctx context.Context, dev device.Device, s *Subject, t *predict.Table, losses *search.BlockLosses, o sweep.VerifyOptions) (*Page, error) {
	p, err := t.Predictor(o.Workload)
	if err != nil {
		return nil, err
	}
	v := &Page{Name: s.Name, Workload: o.Workload, Machine: t.Machine, Params: params(s.Base, s.Layers), DenseParams: params(s.Base, s.Base.Layers),
		DensePredicted: p.Latency(s.Base.Layers), Predicted: p.Latency(s.Layers)}
	v.Compression = 1 - float64(v.Params)/float64(v.DenseParams)
	dense, now := v.DensePredicted, v.Predicted
	if dev != nil {
		if err := v.measure(ctx, dev, s, o); err != nil {
			return nil, err
		}
		dense, now = *v.DenseMeasured, *v.Measured
	}
	v.Gain = 1 - now/dense
	if v.Compression > 0 {
		v.GainPerCompression = v.Gain / v.Compression
	}
	v.EqualWidth = equalWidth(p, s.Base, v.Predicted)
	v.Rounding = roundings(p, s)
	v.Better = better(p, s, v.Predicted)
	if losses != nil {
		if v.Quality, err = compareQuality(p, s, losses, v.Predicted); err != nil {
			return nil, err
		}
	}
	v.judge()
	return v, nil
}

func params(base *config.Config, layers []config.LayerShape) int64 {
	c := *base
	c.Layers = layers
	return c.Params()
}

func (v *Page) measure(ctx context.Context, dev device.Device, s *Subject, o sweep.VerifyOptions) error {
	m, err := sweep.NewMeter(dev, s.Base, o)
	if err != nil {
		return err
	}
	dense, err := m.Base(ctx)
	if err != nil {
		return err
	}
	now, err := m.Measure(ctx, s.Layers, dense)
	if err != nil {
		return err
	}
	v.DenseMeasured, v.Measured, v.Disturbed = &dense, &now.MS, now.Disturbed
	if v.Profile, err = m.Profile(ctx, s.Layers); err != nil {
		return err
	}
	for op := range sweep.Operations {
		v.Parts = append(v.Parts, Part{op.String(), v.Profile.Prefill.Ops[op], v.Profile.Decode.Ops[op]})
	}
	v.Parts = append(v.Parts, Part{"embedding, LM head, sampling", v.Profile.Prefill.Other, v.Profile.Decode.Other})
	for l, ops := range v.Profile.Decode.Layers {
		x := LayerTime{Layer: l, Shape: s.Layers[l]}
		for _, t := range ops {
			x.Decode += t
		}
		v.Slowest = append(v.Slowest, x)
	}
	slices.SortStableFunc(v.Slowest, func(a, b LayerTime) int { return int(math.Copysign(1, b.Decode-a.Decode)) })
	v.Slowest = v.Slowest[:min(5, len(v.Slowest))]
	return nil
}

// equalWidth is found by bisection.
func equalWidth(p *predict.Predictor, base *config.Config, ms float64) int {
	uniform := func(width int) float64 { return p.Latency(withWidth(base.Layers, width)) }
	low, high := 1, 0
	for _, s := range base.Layers {
		high = max(high, s.Intermediate)
	}
	if high == 0 || ms < uniform(low) || ms > uniform(high) {
		return 0
	}
	for high-low > 1 {
		if mid := (low + high) / 2; uniform(mid) <= ms {
			low = mid
		} else {
			high = mid
		}
	}
	if ms-uniform(low) < uniform(high)-ms {
		return low
	}
	return high
}

func withWidth(layers []config.LayerShape, width int) []config.LayerShape {
	out := slices.Clone(layers)
	for i := range out {
		out[i].Intermediate = min(out[i].Intermediate, width)
	}
	return out
}

// roundings rounds all MLP widths up and down. A width stays between one neuron and the
// dense model's.
func roundings(p *predict.Predictor, s *Subject) []Rounding {
	most := 0
	for _, x := range s.Base.Layers {
		most = max(most, x.Intermediate)
	}
	before, n := p.Latency(s.Layers), float64(params(s.Base, s.Layers))
	var out []Rounding
	for _, m := range []int{8, 16, 32, 64, 128} {
		for _, up := range []bool{false, true} {
			rounded := slices.Clone(s.Layers)
			for i := range rounded {
				w := rounded[i].Intermediate
				if w == 0 {
					continue
				}
				if up {
					rounded[i].Intermediate = min(max(most, w), (w+m-1)/m*m)
				} else if w >= m {
					rounded[i].Intermediate = w / m * m
				}
			}
			if slices.Equal(rounded, s.Layers) {
				continue
			}
			out = append(out, Rounding{m, up, float64(params(s.Base, rounded))/n - 1, p.Latency(rounded)/before - 1})
		}
	}
	return out
}

// better looks for shapes of the same number of parameters that the table says are
// faster: layers removed from the dense model, KV heads removed from all layers, and the
// neurons that give the size.
func better(p *predict.Predictor, s *Subject, ms float64) *Alternative {
	want := params(s.Base, s.Layers)
	var best *Alternative
	base := s.Base.Layers
	for layers := len(base); layers >= 1; layers-- {
		kv := 0
		for _, x := range base {
			kv = max(kv, x.KVHeads)
		}
		for k := kv; k >= 1; k-- {
			shapes := slices.Clone(base[:layers])
			for i := range shapes {
				if x := &shapes[i]; x.KVHeads > k {
					x.Heads, x.KVHeads = k*(x.Heads/x.KVHeads), k
				}
			}
			shapes = fill(s.Base, shapes, want)
			if shapes == nil {
				continue
			}
			if t := p.Latency(shapes); best == nil || t < best.Predicted {
				best = &Alternative{Predicted: t, Params: params(s.Base, shapes), Shapes: shapes,
					What: fmt.Sprintf("%d layers of %d heads and %d neurons", layers, shapes[0].Heads, shapes[0].Intermediate)}
			}
		}
	}
	if best == nil || best.Predicted > 0.98*ms {
		return nil
	}
	return best
}

// fill gives all layers one MLP width so that the model has the wanted size to within one
// neuron a layer; nil where that is impossible.
func fill(base *config.Config, shapes []config.LayerShape, want int64) []config.LayerShape {
	most := 0
	for _, x := range shapes {
		most = max(most, x.Intermediate)
	}
	low, high := 1, most
	if params(base, withWidth(shapes, low)) > want || params(base, withWidth(shapes, high)) < want {
		return nil
	}
	for high-low > 1 {
		if mid := (low + high) / 2; params(base, withWidth(shapes, mid)) <= want {
			low = mid
		} else {
			high = mid
		}
	}
	return withWidth(shapes, low)
}
