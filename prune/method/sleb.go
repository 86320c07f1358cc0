package method

import (
	"context"
	"fmt"
	"math"
	"slices"

	"mop/prune/plan"
	"mop/runtime/config"
	"mop/runtime/dataset"
	"mop/runtime/kvcache"
	"mop/runtime/metric"
	"mop/runtime/model"
)

// sleb is SLEB (arXiv 2402.09025): every step removes the layer without which the current
// model has the lowest perplexity on the text. The first and the last layer stay.
type sleb struct{}

func (sleb) Name() string    { return "sleb" }
func (sleb) Summary() string { return "the layer without which the perplexity is lowest at every step" }
func (sleb) Uses() Uses      { return Uses{Windows: 8} }
func (sleb) Columns() bool   { return false }

func (sleb) Reach(base *config.Config, _ plan.Options) (float64, error) {
	return plan.New(base).DepthReach(base, 2), nil
}

func (sleb) Step(ctx context.Context, r Run, n int, s plan.State) (Step, error) {
	if len(s.Layers) <= 2 {
		return Step{}, ErrEnd
	}
	m, free, err := r.Load(s)
	if err != nil {
		return Step{}, err
	}
	defer free()
	tick := r.Tick(fmt.Sprintf("perplexities without a layer, step %d", n), len(r.Windows()))
	ppl, err := perplexityWithoutLayers(ctx, m, r.Windows(), tick)
	if err != nil {
		return Step{}, err
	}
	best := -1
	for l, x := range ppl {
		if l > 0 && l < len(ppl)-1 && x-x == 0 && (best < 0 || x < ppl[best]) {
			best = l
		}
	}
	if best < 0 {
		return Step{}, fmt.Errorf("step %d: without any of the layers the perplexity on the text is not finite", n)
	}
	return removeLayer(s, best, ppl[best])
}

// perplexityWithoutLayers returns the perplexities of the models that lack one layer each, on
// windows of text. Those without the first or the last layer are not measured and are NaN.
// tick is called after each window.
//
// A model without layer l has the layers before l in common with the whole model, so that
// its pass begins with the residual stream of a pass of the whole model in front of layer l,
// at the layer after it.
func perplexityWithoutLayers(ctx context.Context, m *model.Model, windows []dataset.Window, tick func()) ([]float64, error) {
	layers := len(m.Config.Layers)
	cache, err := kvcache.NewWhole(m.Device(), m.Config, max(1, dataset.Longest(windows)))
	if err != nil {
		return nil, err
	}
	defer cache.Close()
	residuals := make([][]float32, layers+1) // of the current window
	observer := &residualReader{dev: m.Device(), hidden: m.Config.HiddenSize, each: func(layer int, x []float32) {
		residuals[layer] = append(residuals[layer][:0], x...)
	}}
	sums, scored := make([]float64, layers), dataset.ScoredTokens(windows)
	if scored == 0 {
		return nil, fmt.Errorf("text: want windows of at least two tokens")
	}
	for w, win := range windows {
		chunks := []model.Chunk{{Slot: 0, Tokens: win.Tokens}}
		cache.Reset()
		if err := m.Forward(model.Pass{Cache: cache, Chunks: chunks, Observer: observer}); err != nil {
			return nil, fmt.Errorf("text: window %d: %w", w, err)
		}
		for l := 1; l < layers-1; l++ {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			cache.Reset()
			load := func(x []float32) error { copy(x, residuals[l]); return nil }
			if err := m.Forward(model.Pass{Cache: cache, Chunks: chunks, Prefix: model.CachedPrefix{LoadAt: l + 1, Load: load}}); err != nil {
				return nil, fmt.Errorf("text: window %d: %w", w, err)
			}
			nll, err := metric.WindowNLL(m, win)
			if err != nil {
				return nil, err
			}
			for _, x := range nll {
				sums[l] += x
			}
		}
		tick()
	}
	ppl := slices.Repeat([]float64{math.NaN()}, layers)
	for l := 1; l < layers-1; l++ {
		ppl[l] = math.Exp(sums[l] / float64(scored))
	}
	return ppl, nil
}
