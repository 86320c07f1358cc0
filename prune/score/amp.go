package score

import (
	"mop/prune/plan"
	"mop/runtime/device"
	"mop/runtime/model"
)

// amp is the score of AMP (arXiv 2504.21174), which MoP uses:
//
//	head h     S_h = 1/T sum_t || x[t,h,:] Wo[:,h]^T ||_1     x = the input of o_proj
//	neuron j   S_j = 1/T sum_t | silu(gate_j) up_j |          the input of down_proj
//
// Both are averaged over the prompts, and every prompt has the same weight.
type amp struct{}

// AMP returns the AMP score.
func AMP() Method { return amp{} }

func (amp) Name() string    { return "amp" }
func (amp) Needs() Needs    { return Needs{Prompts: true} }
func (amp) Summary() string { return "mean absolute contribution to the output of the block" }

func (amp) NewAccumulator(m *model.Model, prompts int) Accumulator {
	return &ampAccumulator{dev: m.Device(), model: m, prompts: prompts, mean: zeroScores(m), prompt: zeroScores(m)}
}

// ampAccumulator sums over the positions of one prompt, and averages over the prompts.
type ampAccumulator struct {
	dev     device.Device
	model   *model.Model
	prompts int
	prompt  *plan.Scores // sums of the current prompt
	mean    *plan.Scores // of the finished prompts
}

// Attention sees x, the input of o_proj [n, H*Dh], and wo, its weight.
func (a *ampAccumulator) Attention(layer int, x device.Buffer, n int, wo device.Weight, shape device.AttentionShape) {
	a.dev.HeadL1(a.prompt.Heads[layer], x, n, wo, shape)
}

// MLP sees mid, the input of down_proj [n, I].
func (a *ampAccumulator) MLP(layer int, mid device.Buffer, n int) {
	a.dev.ColumnL1(a.prompt.Neurons[layer], mid, n)
}

func (a *ampAccumulator) EndPrompt(tokens int) {
	factor := 1 / float64(tokens*a.prompts)
	addScaled(a.mean.Heads, a.prompt.Heads, factor)
	addScaled(a.mean.Neurons, a.prompt.Neurons, factor)
	a.prompt = zeroScores(a.model)
}

func (a *ampAccumulator) Scores() *plan.Scores { return a.mean }

// addScaled adds factor*x to sum.
func addScaled(sum, x [][]float64, factor float64) {
	for l := range x {
		for i, v := range x[l] {
			sum[l][i] += v * factor
		}
	}
}
