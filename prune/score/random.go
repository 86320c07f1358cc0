package score

import (
	"fmt"

	"mop/prune/plan"
	"mop/runtime/device"
	"mop/runtime/model"
	"mop/runtime/random"
)

// randomScore gives every head and neuron a random number in [0, 1) that depends on the
// seed, its layer's number and its own.
type randomScore struct{ seed uint64 }

func (randomScore) Name() string                { return "random" }
func (randomScore) Needs() Needs                { return Needs{} }
func (randomScore) Summary() string             { return "random numbers, by the seed" }
func (randomScore) withSeed(seed uint64) Method { return randomScore{seed} }
func (r randomScore) NewAccumulator(m *model.Model, _ int) Accumulator {
	return &randomAccumulator{r.seed, m}
}

type randomAccumulator struct {
	seed  uint64
	model *model.Model
}

func (*randomAccumulator) Attention(int, device.Buffer, int, device.Weight, device.AttentionShape) {}
func (*randomAccumulator) MLP(int, device.Buffer, int)                                             {}
func (*randomAccumulator) EndPrompt(int)                                                           {}

func (a *randomAccumulator) Scores() *plan.Scores {
	s := zeroScores(a.model)
	for l := range s.Heads {
		for what, x := range map[string][]float64{"heads": s.Heads[l], "neurons": s.Neurons[l]} {
			key := random.Key(a.seed, fmt.Sprintf("score of layer %d, %s", l, what))
			for i := range x {
				x[i] = float64(random.Word(key, uint64(i))>>11) / (1 << 53)
			}
		}
	}
	return s
}
