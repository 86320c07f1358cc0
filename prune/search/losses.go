package search

import (
	"cmp"
	"context"
	"fmt"
	"math"
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

// bent are powers of the losses, and infinite for MLP blocks below a level.
func (x *losses) bent(power float64, least int) *losses {
	raise := func(rows [][]float64, least int) [][]float64 {
		out := make([][]float64, len(rows))
		for l, row := range rows {
			out[l] = make([]float64, len(row))
			for i, v := range row {
				if out[l][i] = math.Copysign(math.Pow(math.Abs(v), power), v); i < least && i < len(row)-1 {
					out[l][i] = math.Inf(1)
				}
			}
		}
		return out
	}
	return &losses{raise(x.attention, 0), raise(x.mlp, least)}
}

// measuredLevels are the levels nearest to the measured shares, ascending.
func (g grid) measuredLevels() []int {
	var out []int
	for _, s := range measuredShares() {
		out = append(out, int(s*float64(g.levels)+0.5))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// block is one block at one of its sizes.
type block struct {
	layer int
	mlp   bool
	size  int // KV heads or level
}

// key names the block's loss in the file of losses.
func (b block) key() string {
	if b.mlp {
		return fmt.Sprintf("mlp %d %d", b.layer, b.size)
	}
	return fmt.Sprintf("attention %d %d", b.layer, b.size)
}

// measuredBlocks are the blocks at the sizes whose loss is measured.
func (g grid) measuredBlocks() []block {
	var all []block
	for l, s := range g.layers {
		for k := range s.KVHeads {
			all = append(all, block{l, false, k})
		}
		for _, v := range g.measuredLevels() {
			if v < g.levels && s.Intermediate > 0 {
				all = append(all, block{l, true, v})
			}
		}
	}
	return all
}

// measureLosses measures every block's losses that the file of losses does not hold.
func (r *run) measureLosses(ctx context.Context) (*losses, error) {
	all := r.measuredBlocks()
	var inputs *layerInputs
	for i, b := range all {
		if _, ok := r.shared.values[b.key()]; !ok {
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
			loss, err := r.divergence(ctx, g, r.LossWindows, inputs.prefixes())
			if err != nil {
				return nil, err
			}
			if err := r.shared.add(b.key(), loss); err != nil {
				return nil, err
			}
		}
		r.Progress.Report(progress.Update{Phase: "losses of single blocks", Done: i + 1, Total: len(all)})
	}
	return r.lossesOf(r.shared.values)
}

// lossesOf arranges measured values by block.
func (g grid) lossesOf(measured map[string]float64) (*losses, error) {
	for _, b := range g.measuredBlocks() {
		if _, ok := measured[b.key()]; !ok {
			return nil, fmt.Errorf("the loss of %q is missing", b.key())
		}
	}
	out := &losses{}
	for l, s := range g.layers {
		attention := make([]float64, s.KVHeads+1)
		for k := range s.KVHeads {
			attention[k] = measured[block{l, false, k}.key()]
		}
		levels := append(g.measuredLevels(), g.levels)
		values := make([]float64, len(levels)) // 0 for the whole block
		for i, v := range levels {
			values[i] = measured[block{l, true, v}.key()]
		}
		out.attention = append(out.attention, attention)
		out.mlp = append(out.mlp, interpolate(levels, values, g.levels))
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
