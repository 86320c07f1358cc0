package method

import (
	"context"
	"fmt"
	"math"

	"mop/prune/plan"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// shortGPT is ShortGPT (arXiv 2403.03853): every step removes the layer that changes the
// residual stream least. The block influence is measured once, on the dense model.
type shortGPT struct {
	influence []float64 // by layer of the dense model; nil = not measured yet
}

func (*shortGPT) Name() string    { return "shortgpt" }
func (*shortGPT) Summary() string { return "the layer of smallest block influence at every step" }
func (*shortGPT) Uses() Uses      { return Uses{Prompts: true} }
func (*shortGPT) Columns() bool   { return false }

func (*shortGPT) Reach(base *config.Config, _ plan.Options) (float64, error) {
	return plan.New(base).DepthReach(base, 1), nil
}

func (m *shortGPT) Step(ctx context.Context, r Run, _ int, s plan.State) (Step, error) {
	if len(s.Layers) <= 1 {
		return Step{}, ErrEnd
	}
	if m.influence == nil {
		dense, free, err := r.Load(r.Dense())
		if err != nil {
			return Step{}, err
		}
		defer free()
		if m.influence, err = blockInfluence(ctx, dense, r.Prompts(), r.Tick("block influence", len(r.Prompts()))); err != nil {
			return Step{}, err
		}
	}
	lowest := 0
	for l, y := range s.Layers {
		if m.influence[y.From] < m.influence[s.Layers[lowest].From] {
			lowest = l
		}
	}
	return removeLayer(s, lowest, m.influence[s.Layers[lowest].From])
}

// removeLayer is a depth step, with what was measured for it.
func removeLayer(s plan.State, layer int, measured float64) (Step, error) {
	next, err := s.PruneLayer(layer)
	return Step{State: next, Kind: plan.Depth, Layer: &layer, Scores: map[plan.Kind]*float64{plan.Depth: &measured}}, err
}

// blockInfluence returns 1 - the mean cosine of each layer's input and output, over all
// positions of all prompts. tick is called after each prompt.
func blockInfluence(ctx context.Context, m *model.Model, prompts [][]int, tick func()) ([]float64, error) {
	longest, positions := 1, 0
	for _, p := range prompts {
		longest, positions = max(longest, len(p)), positions+len(p)
	}
	cache, err := kvcache.NewWhole(m.Device(), m.Config, longest)
	if err != nil {
		return nil, err
	}
	defer cache.Close()
	sums := make([]float64, len(m.Config.Layers))
	var input []float32
	observer := &residualReader{dev: m.Device(), hidden: m.Config.HiddenSize, each: func(layer int, x []float32) {
		if layer > 0 {
			sums[layer-1] += sumOfCosines(input, x, m.Config.HiddenSize)
		}
		input = append(input[:0], x...)
	}}
	for i, p := range prompts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		cache.Reset()
		if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Slot: 0, Tokens: p}}, Observer: observer}); err != nil {
			return nil, fmt.Errorf("calibration: prompt %d: %w", i, err)
		}
		tick()
	}
	for l := range sums {
		sums[l] = 1 - sums[l]/float64(positions)
		if sums[l]-sums[l] != 0 {
			return nil, fmt.Errorf("layer %d: the block influence is %v: the model's activations are not finite", l, sums[l])
		}
	}
	return sums, nil
}

// sumOfCosines adds up the cosines of the rows of a and b, [n, cols]. A row of zeros, such as
// the embedding of a padding token, has the cosine 1 with another one and 0 with all others.
func sumOfCosines(a, b []float32, cols int) float64 {
	sum := 0.0
	for at := 0; at < len(a); at += cols {
		var aa, bb, ab float64
		for j := at; j < at+cols; j++ {
			x, y := float64(a[j]), float64(b[j])
			aa, bb, ab = aa+x*x, bb+y*y, ab+x*y
		}
		switch {
		case aa == 0 && bb == 0:
			sum++
		case aa != 0 && bb != 0:
			sum += ab / math.Sqrt(aa*bb)
		}
	}
	return sum
}

// residualReader reads the residual stream in front of every layer.
type residualReader struct {
	dev    device.Device
	hidden int
	each   func(layer int, x []float32) // x [n, D] is valid during the call
	host   []float32
}

func (*residualReader) Attention(int, device.Buffer, int, device.Weight, device.AttentionShape) {}
func (*residualReader) MLP(int, device.Buffer, int)                                             {}

// Residual sees x, the residual stream [n, D].
func (r *residualReader) Residual(layer int, x device.Buffer, n int) {
	if len(r.host) < n*r.hidden {
		r.host = make([]float32, n*r.hidden)
	}
	rows := r.host[:n*r.hidden]
	r.dev.Read(rows, x, 0, n)
	if r.dev.Sync() == nil { // otherwise the pass returns the error, which the device keeps
		r.each(layer, rows)
	}
}
