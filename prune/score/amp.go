// Package score measures how much each head and neuron of a model contributes:
// the AMP scores (arXiv 2504.21174) that decide what a width step cuts.
//
//	head h     S_h = 1/T sum_t || x[t,h,:] Wo[:,h]^T ||_1     x = the input of o_proj
//	neuron j   S_j = 1/T sum_t | silu(gate_j) up_j |          the input of down_proj
//
// each averaged over the prompts, every prompt counting once.
package score

import (
	"context"
	"fmt"

	"mop/prune/plan"
	"mop/runtime/device"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// AMP scores a model over prompts of ids, one forward pass for each. tick, which
// may be nil, is called after each.
func AMP(ctx context.Context, m *model.Model, prompts [][]int, tick func()) (*plan.Scores, error) {
	return AMPFrom(ctx, m, prompts, nil, nil, tick)
}

// AMPFrom is AMP where the passes begin as begin says, nil = all are whole. known are
// the scores of the layers that are left out.
func AMPFrom(ctx context.Context, m *model.Model, prompts [][]int, begin func(prompt int) model.CachedPrefix, known *plan.Scores, tick func()) (*plan.Scores, error) {
	if len(prompts) == 0 {
		return nil, fmt.Errorf("calibration: no prompts")
	}
	longest := 0
	for _, p := range prompts {
		longest = max(longest, len(p))
	}
	cache, err := kvcache.NewWhole(m.Device(), m.Config, longest)
	if err != nil {
		return nil, err
	}
	o := &sums{dev: m.Device()}
	total := empty(m)
	for i, p := range prompts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		o.now = empty(m)
		cache.Reset()
		var b model.CachedPrefix
		if begin != nil {
			b = begin(i)
		}
		if err := m.ForwardFrom(cache, []model.Chunk{{Seq: 0, Tokens: p}}, o, b); err != nil {
			return nil, fmt.Errorf("calibration: prompt %d: %w", i, err)
		}
		add(total.Heads, o.now.Heads, 1/float64(len(p)*len(prompts)))
		add(total.Neurons, o.now.Neurons, 1/float64(len(p)*len(prompts)))
		if tick != nil {
			tick()
		}
	}
	if known != nil {
		copy(total.Heads, known.Heads)
		copy(total.Neurons, known.Neurons)
	}
	return total, nil
}

func empty(m *model.Model) *plan.Scores {
	s := &plan.Scores{}
	for _, l := range m.Config.Layers {
		s.Heads, s.Neurons = append(s.Heads, make([]float64, l.Heads)), append(s.Neurons, make([]float64, l.Intermediate))
	}
	return s
}

func add(to, from [][]float64, factor float64) {
	for l := range from {
		for i, x := range from[l] {
			to[l][i] += x * factor
		}
	}
}

// sums gathers one prompt's sums over its positions.
type sums struct {
	dev device.Device
	now *plan.Scores
}

func (s *sums) Attention(l int, a device.Buffer, n int, wo device.Weight, hs device.AttentionShape) {
	s.dev.HeadL1(s.now.Heads[l], a, n, wo, hs)
}

func (s *sums) MLP(l int, mid device.Buffer, n int) { s.dev.ColumnL1(s.now.Neurons[l], mid, n) }
