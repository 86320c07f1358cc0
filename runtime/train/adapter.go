package train

import (
	"fmt"
	"math"
	"slices"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/random"
)

// addAdapters gives each targeted projection of each layer an adapter.
func (t *Trainer) addAdapters() error {
	o := t.options
	if o.Rank < 1 {
		return fmt.Errorf("rank: want at least 1, got %d", o.Rank)
	}
	if !(o.Dropout >= 0 && o.Dropout < 1) {
		return fmt.Errorf("dropout: want a share in [0, 1), got %v", o.Dropout)
	}
	for i := range t.layers {
		y := &t.layers[i]
		y.adapters = map[checkpoint.Param]*device.Adapter{}
		for _, p := range checkpoint.Projections() {
			w := y.Weight(p)
			rank, alpha, ok := o.Rank, o.Alpha, slices.Contains(o.Targets, p)
			if o.Adapter != nil {
				rank, alpha, ok = o.Adapter(i, p)
			}
			if w == nil || !ok {
				continue
			}
			a, err := t.newAdapter(i, p, rank, alpha, w.Shape()[0], w.Shape()[1])
			if err != nil {
				return fmt.Errorf("layer %d: %w", i, err)
			}
			y.adapters[p] = a
		}
	}
	if len(t.Params) == 0 {
		return fmt.Errorf("nothing to train: no layer has any of %v", o.Targets)
	}
	return nil
}

// newAdapter makes the adapter of a projection [out, in]. A is uniform in
// +-1/sqrt(in) and B is zero, so that the adapter adds nothing at first.
func (t *Trainer) newAdapter(layer int, p checkpoint.Param, rank int, alpha float64, out, in int) (*device.Adapter, error) {
	ad := &device.Adapter{Scale: float32(alpha / float64(rank))}
	a, err := t.addParam(checkpoint.AdapterName(layer, p, "A"), rank, in)
	if err != nil {
		return nil, err
	}
	b, err := t.addParam(checkpoint.AdapterName(layer, p, "B"), out, rank)
	if err != nil {
		return nil, err
	}
	ad.A, ad.DA, ad.B, ad.DB = a.Value, a.Grad, b.Value, b.Grad
	initial := make([]float32, rank*in) // of A, [rank, in]
	key, scale := random.Key(t.options.Seed, a.Name), random.Scale(1/math.Sqrt(3*float64(in)))
	for i := range initial {
		initial[i] = random.Uniform(key, uint64(i), scale)
	}
	t.dev.Write(ad.A, 0, initial)
	return ad, nil
}

// adapterFor returns the projection's adapter with the dropout of the current pass,
// or nil if it has none.
func (t *Trainer) adapterFor(layer int, p checkpoint.Param, dropout bool) *device.Adapter {
	ad := t.layers[layer].adapters[p]
	if ad == nil || t.options.Dropout == 0 {
		return ad
	}
	ad.Drop = device.Dropout{}
	if dropout {
		ad.Drop = device.Dropout{Probability: t.options.Dropout, Spans: t.buffers.spans}
		name := checkpoint.LayerName(layer, p)
		for _, stream := range t.buffers.streams {
			ad.Drop.Keys = append(ad.Drop.Keys, random.Key(stream, name))
		}
	}
	return ad
}

// HasAdapter reports whether a projection has an adapter.
func (t *Trainer) HasAdapter(layer int, p checkpoint.Param) bool {
	return t.layers[layer].adapters[p] != nil
}

// Delta returns what a projection's adapter adds to its weights: its scale times B A,
// [out, in].
func (t *Trainer) Delta(layer int, p checkpoint.Param) ([]float32, error) {
	ad := t.layers[layer].adapters[p]
	out, in := ad.B.Rows(), ad.A.Cols()
	product, err := t.dev.Buffer(out, in)
	if err != nil {
		return nil, err
	}
	defer product.Free()
	// The backward pass of y = A x computes x' = A^T y' for each row: with y' = B
	// the rows of x' are those of B A.
	t.dev.LinearBackward(product, nil, ad.B, nil, nil, out, t.dev.Parameter(ad.A, false), nil, false)
	delta := make([]float32, out*in)
	t.dev.Read(delta, product, 0, out)
	if err := t.dev.Sync(); err != nil {
		return nil, err
	}
	for i := range delta {
		delta[i] *= ad.Scale
	}
	return delta, nil
}
