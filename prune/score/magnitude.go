package score

import (
	"math"

	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/model"
)

// magnitude is the 2-norm of the weights that go with a head or a neuron:
//
//	neuron j   sqrt(||Wgate[j,:]||^2 + ||Wup[j,:]||^2 + ||Wdown[:,j]||^2)
//	head h     sqrt(||Wq[h]||^2 + ||Wo[:,h]||^2), its rows of Wq and columns of Wo
//
// It needs no activations.
type magnitude struct{}

func (magnitude) Name() string    { return "magnitude" }
func (magnitude) Needs() Needs    { return Needs{} }
func (magnitude) Summary() string { return "norm of the weights" }

func (magnitude) NewAccumulator(m *model.Model, _ int) Accumulator {
	return &magnitudeAccumulator{model: m, scores: zeroScores(m)}
}

type magnitudeAccumulator struct {
	model  *model.Model
	scores *plan.Scores
}

func (a *magnitudeAccumulator) readWeights(src checkpoint.Source) error {
	norms, err := squaredNorms(a.model, src)
	if err != nil {
		return err
	}
	for l, shape := range a.model.Config.Layers {
		rows := map[checkpoint.Param][]float64{}
		if shape.Heads > 0 {
			rows[checkpoint.WQ] = norms.attention[l]
		}
		if shape.Intermediate > 0 {
			rows[checkpoint.WGate], rows[checkpoint.WUp] = norms.mlp[l], norms.mlp[l]
		}
		for _, p := range []checkpoint.Param{checkpoint.WQ, checkpoint.WGate, checkpoint.WUp} {
			if rows[p] == nil {
				continue
			}
			x, cols, err := matrix(src, l, p)
			if err != nil {
				return err
			}
			addRowSquares(rows[p], x, cols)
		}
		for j, x := range norms.attention[l] {
			a.scores.Heads[l][j/shape.HeadDim] += x
		}
		copy(a.scores.Neurons[l], norms.mlp[l])
		for _, s := range [][]float64{a.scores.Heads[l], a.scores.Neurons[l]} {
			for i := range s {
				s[i] = math.Sqrt(s[i])
			}
		}
	}
	return nil
}

func (*magnitudeAccumulator) Attention(int, device.Buffer, int, device.Weight, device.AttentionShape) {
}
func (*magnitudeAccumulator) MLP(int, device.Buffer, int) {}
func (*magnitudeAccumulator) EndPrompt(int)               {}
func (a *magnitudeAccumulator) Scores() *plan.Scores      { return a.scores }
