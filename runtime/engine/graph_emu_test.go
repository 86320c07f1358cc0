//go:build cudaemu

package engine

import (
	"math/rand/v2"
	"slices"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/model"
	"mop/runtime/open"
)

// graphModels loads a model on a device that decodes by graphs, and the same one on the same device
// without them.
func graphModels(t *testing.T) (m, host *model.Model) {
	t.Helper()
	dev, err := open.Device(open.DeviceOptions{ID: open.DeviceID{Kind: "cuda"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	src, err := checkpoint.Open("../model/testdata/different-bf16")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	m, err = model.Load(dev, src)
	if err != nil {
		t.Fatal(err)
	}
	host, err = model.Load(struct{ device.Device }{dev}, src)
	if err != nil {
		t.Fatal(err)
	}
	return m, host
}

// On a device that decodes by graphs, requests that arrive and are canceled at random have the
// tokens that each has alone without graphs, and a decode step stays one launch while
// sequences join and leave.
func TestRandomArrivalsByGraph(t *testing.T) {
	m, host := graphModels(t)
	r := rand.New(rand.NewPCG(2, 7))
	params := []device.SamplingParams{{}, {RepetitionPenalty: 1.3, Seed: 1}, {Temperature: 1, Seed: 2}}
	all := randomArrivals(t, host, r, 6, 40, params)
	e := newEngine(t, m, Options{MaxBatch: 3, MaxContext: 90})
	runArrivals(t, e, all)
	testGrammarsInABatch(t, m, func() *Engine { return newEngine(t, m, Options{MaxBatch: 3, MaxContext: 90}) }, params[:1], randomArrivals(t, host, r, 3, 20, params))
	if e.graphs == 0 || e.graphs > e.steps+1 { // a second one may be queued ahead
		t.Errorf("want one launch a step, got %d in %d steps", e.graphs, e.steps)
	}
	if n := e.decoder.Captures(); n > 3*2 { // buckets of 1, 2 and 4, with filters and without
		t.Errorf("want at most 6 captures, got %d", n)
	}
}

// Requests that share pages of their prompts on a device that decodes by graphs have the tokens
// that they have alone, and what they share is not computed again.
func TestPrefixesByGraph(t *testing.T) {
	m, host := graphModels(t)
	r := rand.New(rand.NewPCG(4, 7))
	e := newEngine(t, m, Options{MaxBatch: 3, MaxContext: 90, Prefixes: 2, StepTokens: 64})
	text := randomPrompt(r, 64)
	var all []*arrival
	for i := range 5 {
		a := &arrival{step: 4 * i, request: Request{Prompt: append(slices.Clone(text), randomPrompt(r, 3+i)[1:]...), MaxTokens: 6, IgnoreEOS: true, PrefixKey: "a", Sampling: device.SamplingParams{Temperature: float64(i % 2), Seed: uint64(i)}}}
		a.want = alone(t, host, a.request)
		all = append(all, a)
	}
	runArrivals(t, e, all)
	if s := e.Stats(); s.PrefixHits != 4*64 || e.graphs == 0 {
		t.Errorf("want %d tokens found, and decode by graphs, got %+v, %d launches", 4*64, s, e.graphs)
	}
}
