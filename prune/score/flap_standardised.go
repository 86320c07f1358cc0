package score

import (
	"math"

	"mop/prune/plan"
	"mop/runtime/model"
)

// flapStandardised is FLAP's score (arXiv 2312.11983) in the form in which the heads and
// neurons of all layers are compared with each other:
//
//	f_j = var(x_j) ||W[:,j]||_2^2          x = the input of down_proj, or of o_proj
//	neuron j   (f_j - mean f) / std f      over the neurons of the layer
//	head h     the mean over its columns of (f_j^2 - mean f^2) / std f^2, over the columns
//	           of the layer
//
// std is that of a sample. FLAP squares the numbers of attention before it standardises them.
type flapStandardised struct{ flap }

// FLAPStandardised returns FLAP's score in the form that is compared between layers. It is
// not in the table, since its numbers may be below 0.
func FLAPStandardised() Method { return flapStandardised{} }

func (flapStandardised) Name() string { return "flap-standardised" }

func (flapStandardised) NewAccumulator(m *model.Model, _ int) Accumulator {
	return &flapStandardisedAccumulator{flapAccumulator{moments: newMoments(m)}}
}

type flapStandardisedAccumulator struct{ flapAccumulator }

func (a *flapStandardisedAccumulator) Scores() *plan.Scores {
	s := zeroScores(a.model)
	for l, shape := range a.model.Config.Layers {
		attention := a.fluctuations(a.sum.attention[l], a.squares.attention[l], a.norms.attention[l])
		for j, f := range attention {
			attention[j] = f * f
		}
		for j, x := range standardised(attention) {
			s.Heads[l][j/shape.HeadDim] += x / float64(shape.HeadDim)
		}
		s.Neurons[l] = standardised(a.fluctuations(a.sum.mlp[l], a.squares.mlp[l], a.norms.mlp[l]))
	}
	return s
}

// fluctuations are those of all columns.
func (a *flapStandardisedAccumulator) fluctuations(sum, squares, norms []float64) []float64 {
	n := math.Max(1, float64(a.positions))
	out := make([]float64, len(sum))
	for j := range out {
		out[j] = fluctuation(sum[j]/n, squares[j]/n, norms[j])
	}
	return out
}

// standardised returns (x - mean) / std, or 0 where all are equal.
func standardised(x []float64) []float64 {
	mean, variance := 0.0, 0.0
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		variance += float64((v - mean) * (v - mean))
	}
	out := make([]float64, len(x))
	if std := math.Sqrt(variance / float64(len(x)-1)); std > 0 {
		for j, v := range x {
			out[j] = (v - mean) / std
		}
	}
	return out
}
