package search

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"mop/prune/plan"
	"mop/prune/surgery"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/metric"
	"mop/runtime/model"
)

// memorySource is a pruned model whose sliced tensors are made when they are asked for,
// so that a candidate needs no directory.
type memorySource struct {
	base   checkpoint.Source
	config *config.Config
	specs  map[string]checkpoint.TensorSpec
	refits *refits // nil = none
}

func newMemorySource(base checkpoint.Source, layers []plan.Layer, refits *refits) (*memorySource, error) {
	specs, c, err := surgery.Specs(base, layers)
	if err != nil {
		return nil, err
	}
	s := &memorySource{base, c, map[string]checkpoint.TensorSpec{}, refits}
	for _, x := range specs {
		s.specs[x.Name] = x
	}
	return s, nil
}

func (s *memorySource) Config() *config.Config { return s.config }
func (s *memorySource) Close() error           { return nil }

// Tensor returns the base's own tensor where nothing was sliced off.
func (s *memorySource) Tensor(name string) (checkpoint.Tensor, error) {
	spec, ok := s.specs[name]
	if !ok {
		return checkpoint.Tensor{}, fmt.Errorf("%s: no such tensor", name)
	}
	// No layer was removed, so names are those of the base.
	if t, err := s.base.Tensor(name); err == nil && slices.Equal(t.Shape, spec.Shape) {
		return t, nil
	}
	if data := s.refits.tensor(name, spec); data != nil {
		return checkpoint.Tensor{Name: name, DType: spec.DType, Shape: spec.Shape, Data: data}, nil
	}
	var data bytes.Buffer
	if err := spec.Write(&data); err != nil {
		return checkpoint.Tensor{}, fmt.Errorf("%s: %w", name, err)
	}
	return checkpoint.Tensor{Name: name, DType: spec.DType, Shape: spec.Shape, Data: data.Bytes()}, nil
}

// divergence is the mean KL divergence from the base of the model of a genome, on the
// first windows of the text. prefixes may be nil.
func (r *run) divergence(ctx context.Context, g genome, windows int, prefixes metric.Prefixes) (float64, error) {
	src, err := newMemorySource(r.base, r.state(g).Layers, r.refits)
	if err != nil {
		return 0, err
	}
	m, err := model.Load(r.dev, src)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	return r.divergenceOf(ctx, m, windows, prefixes)
}

// layerInputs are the residual streams of the base in front of one layer, [T, D] of each
// window on which losses are measured.
type layerInputs struct {
	layer int
	x     [][]float32
}

// inputsOf runs the base up to a layer.
func (r *run) inputsOf(ctx context.Context, layer int) (*layerInputs, error) {
	in := &layerInputs{layer: layer, x: make([][]float32, r.LossWindows)}
	m, err := model.Load(r.dev, r.base)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	err = metric.ForEachWindow(ctx, m, r.windows[:r.LossWindows], func(w int) model.CachedPrefix {
		return model.CachedPrefix{StoreAt: layer, Store: func(x []float32) error { in.x[w] = slices.Clone(x); return nil }}
	}, func(int) error { return nil })
	return in, err
}

// prefixes lets passes begin at the layer.
func (in *layerInputs) prefixes() metric.Prefixes {
	if in == nil || in.layer == 0 {
		return nil
	}
	return func(w int) model.CachedPrefix {
		return model.CachedPrefix{LoadAt: in.layer, Load: func(x []float32) error { copy(x, in.x[w]); return nil }}
	}
}
