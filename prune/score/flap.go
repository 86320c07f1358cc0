package score

import (
	"math"

	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/model"
)

// flap is FLAP's fluctuation score (arXiv 2312.11983): how much an input varies around its
// mean, times the squared norm of its column:
//
//	neuron j   S_j = var(m_j) ||Wdown[:,j]||_2^2              m = the input of down_proj
//	head h     S_h = sum over its columns j of var(x_j) ||Wo[:,j]||_2^2
//
// The variance is over all positions of all prompts. FLAP's standardisation of the scores
// of a layer keeps their order, so it changes nothing where every layer loses the same.
type flap struct{}

func (flap) Name() string { return "flap" }
func (flap) Needs() Needs { return Needs{Prompts: true} }
func (flap) Summary() string {
	return "variance of the activation times the squared norm of its column"
}

func (flap) NewAccumulator(m *model.Model, _ int) Accumulator {
	return &flapAccumulator{moments: newMoments(m)}
}

type flapAccumulator struct {
	*moments
	norms columns
}

func (a *flapAccumulator) readWeights(src checkpoint.Source) (err error) {
	a.norms, err = squaredNorms(a.model, src)
	return err
}

func (a *flapAccumulator) Scores() *plan.Scores {
	return a.reduce(fluctuation, a.norms)
}

// fluctuation is the variance of a column times the squared norm of its weights.
func fluctuation(mean, meanSquare, norm2 float64) float64 {
	return math.Max(0, meanSquare-float64(mean*mean)) * norm2
}
