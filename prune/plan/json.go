package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"

	"mop/internal/files"
	"mop/runtime/config"
)

// Bounds on what is read, so that no count of parameters overflows: a layer has at most
// 7*2^48 of them, and a model has at most 2^12 layers.
const (
	maxSize   = 1 << 24 // V, D, H*Dh, I
	maxLayers = 1 << 12
)

// Write writes the plan as JSON with one line per field, step and layer, so that two
// plans can be compared by a line-based diff.
func (p *Plan) Write(w io.Writer) error {
	var out bytes.Buffer
	if err := writeFields(&out, reflect.ValueOf(*p)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "{\n%s\n}\n", bytes.TrimPrefix(out.Bytes(), []byte(",\n")))
	return err
}

// writeFields writes a struct's fields by their JSON tags. Fields of embedded structs
// are written in their place.
func writeFields(out *bytes.Buffer, v reflect.Value) error {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			if err := writeFields(out, v.Field(i)); err != nil {
				return err
			}
			continue
		}
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		x := v.Field(i)
		if option == "omitempty" && (x.IsZero() || x.Kind() == reflect.Slice && x.Len() == 0 || x.Kind() == reflect.Map && x.Len() == 0) {
			continue
		}
		fmt.Fprintf(out, ",\n %q: ", name)
		if err := writeValue(out, x); err != nil {
			return fmt.Errorf("plan: %s: %w", name, err)
		}
	}
	return nil
}

func writeValue(out *bytes.Buffer, x reflect.Value) error {
	if x.Kind() != reflect.Slice || x.Type().Elem().Kind() != reflect.Struct {
		data, err := json.Marshal(x.Interface())
		out.Write(data)
		return err
	}
	out.WriteByte('[')
	for i := range x.Len() {
		if i > 0 {
			out.WriteByte(',')
		}
		data, err := json.Marshal(x.Index(i).Interface())
		if err != nil {
			return err
		}
		out.WriteString("\n  ")
		out.Write(data)
	}
	out.WriteByte(']')
	return nil
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

// Parse reads a plan and checks it.
func Parse(data []byte) (*Plan, error) {
	if err := config.CheckJSON(data); err != nil {
		return nil, err
	}
	p := &Plan{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		return nil, files.PlainJSON(err)
	}
	if err := p.Check(); err != nil {
		return nil, err
	}
	return p, nil
}

// Check reports whether the plan agrees with itself: every step follows from the one
// before it, counts of parameters are right, and the layers are those that the plan's
// step leaves. It does not compare the steps with what the rule would remove: a plan is
// data, and may have been made by other software.
func (p *Plan) Check() error {
	if err := p.Base.check(); err != nil {
		return err
	}
	if err := p.Options.check(); err != nil {
		return err
	}
	if p.Sequence != "" {
		if _, err := ParseSequence(p.Sequence); err != nil {
			return err
		}
	}
	for _, t := range p.Targets {
		if !(t > 0 && t < 1) {
			return fmt.Errorf("targets: want numbers in (0, 1), got %v", t)
		}
	}
	if p.Target != 0 && !(p.Target > 0 && p.Target < 1) {
		return fmt.Errorf("target: want a number in (0, 1), got %v", p.Target)
	}
	if len(p.Steps) > maxSteps {
		return fmt.Errorf("steps: want at most %d, got %d", maxSteps, len(p.Steps))
	}
	for n := 1; n <= len(p.Steps); n++ {
		if err := p.checkStep(n); err != nil {
			return fmt.Errorf("step %d: %w", n, err)
		}
	}
	return p.checkLayers()
}

func (b Base) check() error {
	switch {
	case b.VocabSize < 1 || b.VocabSize > maxSize:
		return fmt.Errorf("base: vocab: want 1 to %d, got %d", maxSize, b.VocabSize)
	case b.HiddenSize < 1 || b.HiddenSize > maxSize:
		return fmt.Errorf("base: d_model: want 1 to %d, got %d", maxSize, b.HiddenSize)
	case len(b.Shapes) < 1 || len(b.Shapes) > maxLayers:
		return fmt.Errorf("base: shapes: want 1 to %d layers, got %d", maxLayers, len(b.Shapes))
	}
	for l, s := range b.Shapes {
		switch {
		case s.HeadDim < 1 || s.HeadDim > maxSize || s.HeadDim != b.Shapes[0].HeadDim:
			return fmt.Errorf("base: layer %d: head_dim: want 1 to %d and one for all layers, got %d", l, maxSize, s.HeadDim)
		case s.Heads < 0 || s.Heads > maxSize/s.HeadDim:
			return fmt.Errorf("base: layer %d: heads: want 0 to %d, got %d", l, maxSize/s.HeadDim, s.Heads)
		case s.KVHeads < 0 || (s.Heads == 0) != (s.KVHeads == 0) || s.KVHeads > 0 && s.Heads%s.KVHeads != 0:
			return fmt.Errorf("base: layer %d: kv_heads: want a divisor of %d heads, got %d", l, s.Heads, s.KVHeads)
		case s.Intermediate < 0 || s.Intermediate > maxSize:
			return fmt.Errorf("base: layer %d: mlp: want 0 to %d, got %d", l, maxSize, s.Intermediate)
		}
	}
	if !(b.LatencyMS >= 0) || !finite(b.LatencyMS) {
		return fmt.Errorf("base: latency_ms: want 0 or more, got %v", b.LatencyMS)
	}
	if n := b.count(b.Shapes); n != b.Params {
		return fmt.Errorf("base: params: its shapes make %d, got %d", n, b.Params)
	}
	return nil
}

func (p *Plan) checkStep(n int) error {
	s, before := p.Steps[n-1], p.shapes(n-1)
	if s.Step != n {
		return fmt.Errorf("want steps in order from 1, got %d", s.Step)
	}
	switch s.Kind {
	case Depth:
		at, err := s.removedLayer(len(before))
		if err != nil {
			return err
		}
		if !slices.Equal(s.Shapes, slices.Delete(slices.Clone(before), at, at+1)) {
			return fmt.Errorf("shapes: a depth step removes layer %d and nothing else", at)
		}
	case Width:
		if s.Layer != nil {
			return errors.New("layer: a width step removes none")
		}
		if len(s.Shapes) != len(before) {
			return fmt.Errorf("shapes: want %d layers, got %d", len(before), len(s.Shapes))
		}
		for l := range before {
			if err := checkPruned(s.Shapes[l], before[l]); err != nil {
				return fmt.Errorf("layer %d: %w", l, err)
			}
		}
	default:
		return fmt.Errorf("kind: want depth or width, got %q", s.Kind)
	}
	params := p.Base.count(s.Shapes)
	if s.Params != params {
		return fmt.Errorf("params: its shapes make %d, got %d", params, s.Params)
	}
	if !(s.LatencyMS >= 0) || !finite(s.LatencyMS) {
		return fmt.Errorf("latency_ms: want 0 or more, got %v", s.LatencyMS)
	}
	if c := compression(params, p.Base.Params); math.Abs(s.Compression-c) > 1e-9 {
		return fmt.Errorf("compression: want %v, got %v", c, s.Compression)
	}
	for k := range s.Scores {
		if k != Depth && k != Width {
			return fmt.Errorf("scores: want depth and width, got %q", k)
		}
	}
	return nil
}

// removedLayer is the layer that a depth step removes from a model of so many layers.
func (s Step) removedLayer(layers int) (int, error) {
	switch {
	case s.Layer == nil && layers <= 3:
		return 0, ErrDepth
	case s.Layer == nil:
		return layers - 3, nil
	case layers <= 1:
		return 0, errLastLayer
	case *s.Layer < 0 || *s.Layer >= layers:
		return 0, fmt.Errorf("layer: want 0 to %d, got %d", layers-1, *s.Layer)
	}
	return *s.Layer, nil
}

func (p *Plan) checkLayers() error {
	if p.Step < 0 || p.Step > len(p.Steps) {
		return fmt.Errorf("step: want 0 to %d, got %d", len(p.Steps), p.Step)
	}
	if len(p.Layers) == 0 {
		return nil
	}
	shapes, from := p.shapes(p.Step), upTo(len(p.Base.Shapes))
	for _, s := range p.Steps[:p.Step] {
		if s.Kind == Depth {
			at, err := s.removedLayer(len(from))
			if err != nil {
				return err
			}
			from = slices.Delete(from, at, at+1)
		}
	}
	if len(p.Layers) != len(shapes) {
		return fmt.Errorf("layers: step %d has %d, got %d", p.Step, len(shapes), len(p.Layers))
	}
	for i, l := range p.Layers {
		if l.Shape != shapes[i] {
			return fmt.Errorf("layer %d: shape: step %d has %+v, got %+v", i, p.Step, shapes[i], l.Shape)
		}
		if l.From != from[i] {
			return fmt.Errorf("layer %d: from: the steps leave base layer %d, got %d", i, from[i], l.From)
		}
		if l.withoutIndices() && (l.Shape.Heads > 0 || l.Shape.Intermediate > 0) {
			return fmt.Errorf("layer %d: want the indices of its heads and neurons, got none", i)
		}
	}
	return State{Layers: p.Layers, Groups: p.Groups}.Check(p.Base.Shapes)
}

// errNoScores is the error of a dry run with allocation global.
var errNoScores = errors.New("allocation global: wants scores, and a plan from sizes alone has none")
