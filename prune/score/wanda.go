package score

import (
	"math"

	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/model"
)

// wanda is the structured form of Wanda's score (arXiv 2306.11695), |W| times the norm of
// the input, over whole columns:
//
//	neuron j   S_j = rms(m_j) ||Wdown[:,j]||_2                m = the input of down_proj
//	head h     S_h = sum over its columns j of rms(x_j) ||Wo[:,j]||_2
//
// rms is over all positions of all prompts.
type wanda struct{}

func (wanda) Name() string    { return "wanda" }
func (wanda) Needs() Needs    { return Needs{Prompts: true} }
func (wanda) Summary() string { return "rms of the activation times the norm of its column" }

func (wanda) NewAccumulator(m *model.Model, _ int) Accumulator {
	return &wandaAccumulator{moments: newMoments(m)}
}

type wandaAccumulator struct {
	*moments
	norms columns
}

func (a *wandaAccumulator) readWeights(src checkpoint.Source) (err error) {
	a.norms, err = squaredNorms(a.model, src)
	return err
}

func (a *wandaAccumulator) Scores() *plan.Scores {
	return a.reduce(func(_, meanSquare, norm2 float64) float64 { return math.Sqrt(meanSquare) * math.Sqrt(norm2) }, a.norms)
}
