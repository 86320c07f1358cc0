package search

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"mop/internal/progress"
)

// measuredShares are the shares of an MLP block whose loss is measured; the losses of the
// levels between are interpolated.
func measuredShares() []float64 { return []float64{0, 0.25, 0.4, 0.55, 0.7, 0.85} }

// losses are what the model loses, in nats, when one block alone is made smaller.
type losses struct {
	attention [][]float64 // [L][K+1] by the KV heads that are kept
	mlp       [][]float64 // [L][Levels+1]
}

// measuredLevels are the levels nearest to the measured shares, ascending.
func (r *run) measuredLevels() []int {
	var out []int
	for _, s := range measuredShares() {
		out = append(out, int(s*float64(r.Levels)+0.5))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// measureLosses measures every block's losses that the file of losses does not hold.
func (r *run) measureLosses(ctx context.Context) (*losses, error) {
	c := r.base.Config()
	type block struct {
		layer int
		mlp   bool
		size  int
	}
	var all []block
	for l, s := range c.Layers {
		for k := range s.KVHeads {
			all = append(all, block{l, false, k})
		}
		for _, v := range r.measuredLevels() {
			if v < r.Levels && s.Intermediate > 0 {
				all = append(all, block{l, true, v})
			}
		}
	}
	measured := map[block]float64{}
	var inputs *layerInputs
	for i, b := range all {
		key := fmt.Sprintf("attention %d %d", b.layer, b.size)
		if b.mlp {
			key = fmt.Sprintf("mlp %d %d", b.layer, b.size)
		}
		loss, ok := r.shared.values[key]
		if !ok {
			var err error
			if b.layer > 0 && (inputs == nil || inputs.layer != b.layer) {
				if inputs, err = r.inputsOf(ctx, b.layer); err != nil {
					return nil, err
				}
			}
			g := r.dense()
			if b.mlp {
				g.Levels[b.layer] = b.size
			} else {
				g.KVHeads[b.layer] = b.size
			}
			if loss, err = r.divergence(ctx, g, r.LossWindows, inputs.prefixes()); err != nil {
				return nil, err
			}
			if err := r.shared.add(key, loss); err != nil {
				return nil, err
			}
		}
		measured[b] = loss
		r.Progress.Report(progress.Update{Phase: "losses of single blocks", Done: i + 1, Total: len(all)})
	}
	out := &losses{}
	for l, s := range c.Layers {
		attention := make([]float64, s.KVHeads+1)
		for k := range s.KVHeads {
			attention[k] = measured[block{l, false, k}]
		}
		levels := append(r.measuredLevels(), r.Levels)
		values := make([]float64, len(levels)) // 0 for the whole block
		for i, v := range levels {
			values[i] = measured[block{l, true, v}]
		}
		out.attention = append(out.attention, attention)
		out.mlp = append(out.mlp, interpolate(levels, values, r.Levels))
	}
	return out, nil
}

// interpolate gives every level from 0 to most a value, linear between the given levels,
// which ascend from 0 or below the others to most.
func interpolate(levels []int, values []float64, most int) []float64 {
	out := make([]float64, most+1)
	for v := range out {
		i, exact := slices.BinarySearchFunc(levels, v, cmp.Compare[int])
		switch {
		case exact:
			out[v] = values[i]
		case i == 0:
			out[v] = values[0]
		default:
			a, b := levels[i-1], levels[i]
			t := float64(v-a) / float64(b-a)
			out[v] = values[i-1] + t*(values[i]-values[i-1])
		}
	}
	return out
}
