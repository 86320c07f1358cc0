package score

import (
	"context"
	"errors"
	"fmt"
	"math"

	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/model"
	"mop/runtime/train"
)

// taylor is the first-order score of LLM-Pruner (arXiv 2305.11627), by elements and summed
// over the group of weights that a removal takes away:
//
//	neuron j   the sum of |w w'| over Wgate[j,:], Wup[j,:] and Wdown[:,j]
//	head h     the same over its rows of Wq and columns of Wo, and over an equal part of the
//	           rows of Wk and Wv that it shares
//
// w' is the gradient of the mean loss of all predicted tokens of all prompts.
type taylor struct{}

func (taylor) Name() string    { return "taylor" }
func (taylor) Summary() string { return "sum of weight times gradient, needs a device that trains" }
func (taylor) Needs() Needs    { return Needs{Prompts: true, Gradients: true} }

// NewAccumulator returns nil: the score is not made from activations.
func (taylor) NewAccumulator(*model.Model, int) Accumulator { return nil }

// gradientBytes bounds the gradients in memory: the model runs over the prompts once for
// each group of layers whose gradients fit.
const gradientBytes = 3 << 30

// measureGradients measures a score that needs gradients, or a combination with one.
func measureGradients(ctx context.Context, method Method, m *model.Model, c Calibration) (*plan.Scores, error) {
	both, ok := method.(combined)
	if !ok {
		return measureTaylor(ctx, m, c)
	}
	heads, err := Measure(ctx, both.heads, m, c)
	if err != nil {
		return nil, err
	}
	neurons, err := Measure(ctx, both.neurons, m, c)
	if err != nil {
		return nil, err
	}
	return &plan.Scores{Heads: heads.Heads, Neurons: neurons.Neurons}, nil
}

func measureTaylor(ctx context.Context, m *model.Model, c Calibration) (*plan.Scores, error) {
	if c.Weights == nil {
		return nil, errNoWeights
	}
	batch, err := lossOfPrompts(c.Prompts)
	if err != nil {
		return nil, err
	}
	scores := zeroScores(m)
	for first := 0; first < len(m.Config.Layers); {
		end := layersThatFit(m.Config, first)
		if err := addTaylor(ctx, m, c, batch, first, end, scores); err != nil {
			return nil, err
		}
		first = end
	}
	return scores, nil
}

// lossOfPrompts is the mean loss of all tokens but the first of each prompt.
func lossOfPrompts(prompts [][]int) ([]train.Sequence, error) {
	predicted := 0
	for _, p := range prompts {
		predicted += max(0, len(p)-1)
	}
	if predicted == 0 {
		return nil, errors.New("calibration: no prompt has two tokens, of which one predicts the other")
	}
	var batch []train.Sequence
	for _, p := range prompts {
		if len(p) < 2 {
			continue
		}
		batch = append(batch, train.Sequence{Tokens: p, Labels: append(append([]int{}, p[1:]...), -1), Scale: float32(1 / float64(predicted))})
	}
	return batch, nil
}

// layersThatFit returns the end of the group of layers that begins at first.
func layersThatFit(c *config.Config, first int) int {
	end, bytes := first, int64(0)
	for end < len(c.Layers) {
		bytes += 4 * (c.Layers[end].AttentionParams(c.HiddenSize) + c.Layers[end].MLPParams(c.HiddenSize))
		if bytes > gradientBytes && end > first {
			break
		}
		end++
	}
	return end
}

// addTaylor adds the scores of some layers.
func addTaylor(ctx context.Context, m *model.Model, c Calibration, batch []train.Sequence, first, end int, scores *plan.Scores) error {
	t, err := train.New(m, c.Weights, train.Options{Gradients: func(layer int, _ checkpoint.Param) bool { return first <= layer && layer < end }})
	if err != nil {
		return fmt.Errorf("score taylor: %w", err)
	}
	defer t.Close()
	for i, s := range batch {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := t.ForwardBackward([]train.Sequence{s}); err != nil {
			return fmt.Errorf("calibration: prompt %d: %w", i, err)
		}
		if c.Tick != nil {
			c.Tick()
		}
	}
	for l := first; l < end; l++ {
		shape := m.Config.Layers[l]
		for _, p := range checkpoint.Projections() {
			gradient := t.Gradient(l, p)
			if gradient == nil {
				continue
			}
			w, cols, err := matrix(c.Weights, l, p)
			if err != nil {
				return err
			}
			g := make([]float32, len(w))
			m.Device().Read(g, gradient, 0, gradient.Rows())
			if err := m.Device().Sync(); err != nil {
				return err
			}
			for i := range w {
				addGroup(scores, l, shape, p, i/cols, i%cols, math.Abs(float64(w[i])*float64(g[i])))
			}
		}
	}
	return nil
}

// addGroup adds the share of one weight to the score of its head or neuron.
func addGroup(scores *plan.Scores, layer int, s config.LayerShape, p checkpoint.Param, row, col int, x float64) {
	switch p {
	case checkpoint.WQ:
		scores.Heads[layer][row/s.HeadDim] += x
	case checkpoint.WO:
		scores.Heads[layer][col/s.HeadDim] += x
	case checkpoint.WK, checkpoint.WV:
		sharing := s.Heads / s.KVHeads
		for h := range sharing {
			scores.Heads[layer][row/s.HeadDim*sharing+h] += x / float64(sharing)
		}
	case checkpoint.WGate, checkpoint.WUp:
		scores.Neurons[layer][row] += x
	case checkpoint.WDown:
		scores.Neurons[layer][col] += x
	}
}
