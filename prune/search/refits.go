package search

import (
	"context"
	"fmt"
	"sync"

	"mop/prune/plan"
	"mop/prune/refit"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/model"
)

const (
	// momentBytes bounds the second moments in memory: the model runs over the prompts once
	// for each group of layers whose moments fit.
	momentBytes = 3 << 30
	// refittedBytes bounds the refitted matrices that are kept for the next candidates.
	refittedBytes = 2 << 30
)

// refits refit the output projections of candidates on the calibration prompts. A refit
// depends on the size of its own block only, so candidates share them.
type refits struct {
	factors map[string]*refit.Factor // by the name of the tensor

	lock  sync.Mutex
	known map[string][]byte // by name and size, in the type of the base's tensor
	bytes int
}

// prepareRefits measures the second moments of the inputs of all matrices that can be
// refitted, and factorizes them.
func (r *run) prepareRefits(ctx context.Context) error {
	c := r.base.Config()
	stored, err := r.momentFiles()
	if err != nil {
		return err
	}
	out := &refits{factors: map[string]*refit.Factor{}, known: map[string][]byte{}}
	for first := 0; first < len(c.Layers); {
		group, bytes, end := refit.Wanted{}, int64(0), first
		for ; end < len(c.Layers); end++ {
			y := c.Layers[end]
			need := refit.Bytes(y.Heads*y.HeadDim) + refit.Bytes(y.Intermediate)
			if bytes > 0 && bytes+need > momentBytes {
				break
			}
			group[end] = map[refit.Matrix]bool{refit.Output: y.Heads > 0, refit.Down: y.Intermediate > 0}
			bytes += need
		}
		if err := r.storeMoments(ctx, stored, group); err != nil {
			return err
		}
		first = end
	}
	tick := r.Progress.Counter(0, "factors of the second moments", len(c.Layers))
	for l, y := range c.Layers {
		for which, n := range map[refit.Matrix]int{refit.Output: y.Heads * y.HeadDim, refit.Down: y.Intermediate} {
			if n == 0 {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			moments, err := stored.read(l, which, n)
			if err != nil {
				return err
			}
			if err := out.factorize(r, l, which, moments); err != nil {
				return fmt.Errorf("layer %d: %s: %w", l, which, err)
			}
		}
		tick()
	}
	r.refits = out
	return nil
}

// storeMoments measures the second moments of a group of layers, unless they are stored.
func (r *run) storeMoments(ctx context.Context, stored momentFiles, group refit.Wanted) error {
	c := r.base.Config()
	complete := true
	for l := range group {
		for which, wanted := range group[l] {
			complete = complete && (!wanted || stored.has(l, which))
		}
	}
	if complete {
		return nil
	}
	m, err := model.Load(r.dev, r.base)
	if err != nil {
		return err
	}
	defer m.Close()
	moments, err := refit.Measure(ctx, m, r.prompts, group, r.Progress.Counter(0, "second moments", len(r.prompts)))
	if err != nil {
		return err
	}
	for l := range c.Layers {
		for which, x := range moments[l] {
			if err := stored.write(l, which, x.All()); err != nil {
				return err
			}
		}
	}
	return nil
}

// factorize prepares the refits of one matrix.
func (f *refits) factorize(r *run, layer int, which refit.Matrix, moments []float64) error {
	param, order := checkpoint.WDown, r.neuronOrder[layer]
	if which == refit.Output {
		s := r.base.Config().Layers[layer]
		param, order = checkpoint.WO, nil
		group := s.Heads / s.KVHeads * s.HeadDim // columns of a KV head's query heads
		for _, k := range r.headOrder[layer] {
			for j := range group {
				order = append(order, k*group+j)
			}
		}
	}
	name := checkpoint.LayerName(layer, param)
	t, err := r.base.Tensor(name)
	if err != nil {
		return err
	}
	f.factors[name], err = refit.NewFactor(checkpoint.Float32s(t), t.Shape[0], order, moments)
	return err
}

// tensor returns the data of a candidate's tensor, nil if it is not one that is refitted.
// No layer was removed, so names are those of the base.
func (f *refits) tensor(name string, spec checkpoint.TensorSpec) []byte {
	if f == nil || f.factors[name] == nil {
		return nil
	}
	key := fmt.Sprint(name, " ", spec.Shape[1])
	f.lock.Lock()
	defer f.lock.Unlock()
	if data, ok := f.known[key]; ok {
		return data
	}
	w, size := f.factors[name].Keep(spec.Shape[1]), spec.DType.Size()
	data := make([]byte, len(w)*size)
	for i, x := range w {
		checkpoint.Encode(data[i*size:], spec.DType, x)
	}
	if f.bytes += len(data); f.bytes > refittedBytes {
		clear(f.known)
		f.bytes = len(data)
	}
	f.known[key] = data
	return data
}

// weights are the refitted matrices of a model, nil without refits.
func (f *refits) weights(base *config.Config, layers []plan.Layer) map[string][]float32 {
	if f == nil {
		return nil
	}
	out := map[string][]float32{}
	for l, y := range layers {
		dense := base.Layers[y.From]
		if k := y.Shape.Heads * y.Shape.HeadDim; k > 0 && y.Shape.Heads < dense.Heads {
			name := checkpoint.LayerName(l, checkpoint.WO)
			out[name] = f.factors[name].Keep(k)
		}
		if k := y.Shape.Intermediate; k > 0 && k < dense.Intermediate {
			name := checkpoint.LayerName(l, checkpoint.WDown)
			out[name] = f.factors[name].Keep(k)
		}
	}
	return out
}
