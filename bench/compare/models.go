package compare

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"mop/internal/files"
	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/open"
)

// Model is a model under test. It is opened when the comparison begins.
type Model struct {
	Name   string
	Series string // how the model was made ("MoP"); plots join the models of a series
	From   []int  // index in the dense model of each layer; nil = not known
	Open   func() (checkpoint.Source, error)
}

// Checkpoint is the model under test of a directory or preset. If a plan.json lies beside
// the weights, it says which layers of the dense model were kept.
func Checkpoint(label, name string, from open.SourceOptions) Model {
	m := Model{Name: label, Series: "MoP", Open: func() (checkpoint.Source, error) { return open.Source(name, from) }}
	path := filepath.Join(name, "plan.json")
	if _, err := files.Check(path); err != nil {
		return m
	}
	if p, err := plan.Load(path); err == nil {
		for _, l := range p.Layers {
			m.From = append(m.From, l.From)
		}
	}
	return m
}

// Random is a model under test with random weights.
func Random(name string, c *config.Config, from open.SourceOptions) Model {
	return Model{Name: name, Series: "MoP", Open: func() (checkpoint.Source, error) { return from.Random(c), nil }}
}

// Path is a model's shapes along a plan, all with random weights: the base first, then the
// shapes after the given steps. If steps is empty, it is the steps that the plan's targets
// took, or the last one. name is for messages and labels.
func Path(name string, base *config.Config, p *plan.Plan, steps []int, from open.SourceOptions) ([]Model, error) {
	shapes, err := p.LayerShapes(0)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(shapes, base.Layers) {
		return nil, fmt.Errorf("the plan was made for other layers than those of %s", name)
	}
	if len(steps) == 0 {
		if steps, err = targetSteps(p); err != nil {
			return nil, err
		}
	}
	list := []Model{Random(name, base, from)}
	for _, n := range steps {
		shapes, err := p.LayerShapes(n)
		if err != nil {
			return nil, err
		}
		c := base.Clone()
		c.Layers = shapes
		list = append(list, Random(fmt.Sprintf("%s step %d", name, n), c, from))
	}
	return list, nil
}

// Paths reads plans of one base model, and returns the base and every plan's shapes, all
// with random weights. Of several plans, the models are named after the files.
func Paths(base string, planFiles []string, steps []int, from open.SourceOptions) ([]Model, error) {
	c, err := open.Config(base)
	if err != nil {
		return nil, err
	}
	list := []Model{Random(base, c, from)}
	for _, file := range planFiles {
		p, err := plan.Load(file)
		if err != nil {
			return nil, err
		}
		name := base
		if len(planFiles) > 1 {
			name = strings.TrimSuffix(filepath.Base(file), ".json")
		}
		path, err := Path(name, c, p, steps, from)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		list = append(list, path[1:]...)
	}
	return list, nil
}

// targetSteps are the steps at which a plan comes nearest to its targets.
func targetSteps(p *plan.Plan) ([]int, error) {
	if len(p.Steps) == 0 {
		return nil, fmt.Errorf("the plan has no steps")
	}
	var steps []int
	for _, t := range p.Targets {
		steps = append(steps, plan.Nearest(p.Compressions(), t))
	}
	if len(steps) == 0 {
		steps = []int{len(p.Steps)}
	}
	return slices.Compact(steps), nil
}
