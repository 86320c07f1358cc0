package method

import (
	"encoding/json"
	"math"
	"os"
	"reflect"
	"slices"
	"testing"

	"mop/prune/plan"
	"mop/prune/score"
	"mop/prune/surgery"
	"mop/runtime/checkpoint"
	"mop/runtime/dataset"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/metric"
	"mop/runtime/model"
)

// expected is testdata/methods.json, which methods.py computes with PyTorch.
type expected struct {
	Prompts   [][]int
	Influence []float64
	Sleb      []struct {
		Perplexities []float64
		Layer, From  int
	}
	Flap []struct {
		Model          string
		Prompts        [][]int
		Share          float64
		Heads, Neurons [][]float64
		KeptKVHeads    [][]int `json:"kept_kv_heads"`
		KeptNeurons    [][]int `json:"kept_neurons"`
	}
}

func golden(t *testing.T) expected {
	t.Helper()
	text, err := os.ReadFile("testdata/methods.json")
	if err != nil {
		t.Fatal(err)
	}
	var g expected
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Influence) < 10 || len(g.Sleb) < 3 || len(g.Flap) < 6 {
		t.Fatalf("want golden cases of all methods, got %d, %d and %d", len(g.Influence), len(g.Sleb), len(g.Flap))
	}
	return g
}

func host(t *testing.T) device.Device {
	t.Helper()
	dev, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

// run is a Run over a base in memory, without scores of heads and neurons.
type run struct {
	Run     // not used
	t       *testing.T
	dev     device.Device
	base    checkpoint.Source
	prompts [][]int
	loads   int
}

func (r *run) Dense() plan.State         { return plan.New(r.base.Config()) }
func (r *run) Prompts() [][]int          { return r.prompts }
func (r *run) Tick(string, int) func()   { return func() {} }
func (r *run) Windows() []dataset.Window { return windows(r.prompts) }

func (r *run) Load(s plan.State) (*model.Model, func(), error) {
	r.loads++
	specs, c, err := surgery.Specs(r.base, s.Layers)
	if err != nil {
		return nil, nil, err
	}
	dir := r.t.TempDir() + "/model"
	if err := checkpoint.Save(dir, c, specs, checkpoint.SaveOptions{}); err != nil {
		return nil, nil, err
	}
	src, err := checkpoint.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	m, err := model.Load(r.dev, src)
	if err != nil {
		return nil, nil, err
	}
	return m, func() { m.Close(); src.Close() }, nil
}

func windows(prompts [][]int) []dataset.Window {
	var out []dataset.Window
	for _, p := range prompts {
		out = append(out, dataset.Window{Tokens: p, FirstScored: 1})
	}
	return out
}

func open(t *testing.T, dir string) checkpoint.Source {
	t.Helper()
	src, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

// A row of zeros is equal to another one and unlike all others.
func TestCosineOfZeros(t *testing.T) {
	zero, x := []float32{0, 0}, []float32{3, 4}
	for _, c := range []struct {
		a, b []float32
		want float64
	}{{zero, zero, 1}, {zero, x, 0}, {x, zero, 0}, {x, x, 1}, {append(slices.Clone(zero), x...), append(slices.Clone(zero), -4, 3), 1}} {
		if got := sumOfCosines(c.a, c.b, 2); got != c.want {
			t.Errorf("%v and %v: want %v, got %v", c.a, c.b, c.want, got)
		}
	}
}

func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance*math.Abs(b) }

// ShortGPT's block influence is that of PyTorch, it is measured once, and the layers leave
// in its order.
func TestShortGPTGolden(t *testing.T) {
	g := golden(t)
	r := &run{t: t, dev: host(t), base: open(t, "../../bench/demo/model"), prompts: g.Prompts}
	m, err := ByName("shortgpt")
	if err != nil {
		t.Fatal(err)
	}
	order := make([]int, len(g.Influence))
	for l := range order {
		order[l] = l
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if g.Influence[a] < g.Influence[b] {
			return -1
		}
		return 1
	})
	s := r.Dense()
	for n := range len(order) - 1 {
		removed := s.Layers
		step, err := m.(Stepper).Step(t.Context(), r, n+1, s)
		if err != nil {
			t.Fatal(err)
		}
		if from := removed[*step.Layer].From; from != order[n] {
			t.Fatalf("step %d: want layer %d removed, got %d", n+1, order[n], from)
		}
		if x := *step.Scores[plan.Depth]; !near(x, g.Influence[order[n]], 1e-4) {
			t.Errorf("layer %d: want an influence of %v, got %v", order[n], g.Influence[order[n]], x)
		}
		s = step.State
	}
	if _, err := m.(Stepper).Step(t.Context(), r, len(order), s); err != ErrEnd || len(s.Layers) != 1 {
		t.Errorf("want one layer and the end, got %d and %v", len(s.Layers), err)
	}
	if r.loads != 1 {
		t.Errorf("want the influence measured once, got %d times", r.loads)
	}
}

// SLEB's perplexities without each layer are those of PyTorch, and so is its greedy path.
func TestSLEBGolden(t *testing.T) {
	g := golden(t)
	r := &run{t: t, dev: host(t), base: open(t, "../../bench/demo/model"), prompts: g.Prompts}
	s := r.Dense()
	for n, want := range g.Sleb {
		m, free, err := r.Load(s)
		if err != nil {
			t.Fatal(err)
		}
		ppl, err := perplexityWithoutLayers(t.Context(), m, r.Windows(), func() {})
		free()
		if err != nil {
			t.Fatal(err)
		}
		if len(ppl) != len(want.Perplexities)+2 || ppl[0] == ppl[0] || ppl[len(ppl)-1] == ppl[len(ppl)-1] {
			t.Fatalf("step %d: want the first and the last layer left out, got %v", n+1, ppl)
		}
		for i, x := range want.Perplexities {
			if !near(ppl[i+1], x, 1e-4) {
				t.Errorf("step %d: without layer %d: want %v, got %v", n+1, i+1, x, ppl[i+1])
			}
		}
		step, err := sleb{}.Step(t.Context(), r, n+1, s)
		if err != nil {
			t.Fatal(err)
		}
		if *step.Layer != want.Layer || s.Layers[*step.Layer].From != want.From {
			t.Fatalf("step %d: want layer %d removed, which is %d of the dense model, got %d", n+1, want.Layer, want.From, *step.Layer)
		}
		s = step.State
	}
}

// The perplexity without a layer has the bits of that of a model which lacks it.
func TestPerplexityWithoutLayersEqualsPrunedModels(t *testing.T) {
	g := golden(t)
	r := &run{t: t, dev: host(t), base: open(t, "../../bench/demo/model"), prompts: g.Prompts}
	m, free, err := r.Load(r.Dense())
	if err != nil {
		t.Fatal(err)
	}
	defer free()
	ppl, err := perplexityWithoutLayers(t.Context(), m, r.Windows(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []int{1, 7, len(ppl) - 2} {
		s, err := r.Dense().PruneLayer(l)
		if err != nil {
			t.Fatal(err)
		}
		without, free, err := r.Load(s)
		if err != nil {
			t.Fatal(err)
		}
		want, err := metric.Perplexity(t.Context(), without, r.Windows(), nil)
		free()
		if err != nil || want.PPL != ppl[l] {
			t.Errorf("without layer %d: want %v, got %v, %v", l, want.PPL, ppl[l], err)
		}
	}
}

// FLAP's standardised scores are those of PyTorch, and so are the heads and neurons that one
// sort over all layers keeps.
func TestFLAPGolden(t *testing.T) {
	dev := host(t)
	for _, g := range golden(t).Flap {
		src := open(t, "../../runtime/model/testdata/"+g.Model)
		m, err := model.Load(dev, src)
		if err != nil {
			t.Fatal(err)
		}
		method, err := flap{}.Score(0)
		if err != nil {
			t.Fatal(err)
		}
		scores, err := score.Measure(t.Context(), method, m, score.Calibration{Prompts: g.Prompts, Weights: src})
		m.Close()
		if err != nil {
			t.Fatal(err)
		}
		for l := range g.Heads {
			for _, x := range []struct{ got, want []float64 }{{scores.Heads[l], g.Heads[l]}, {scores.Neurons[l], g.Neurons[l]}} {
				for i := range x.want {
					if math.Abs(x.got[i]-x.want[i]) > 1e-3 {
						t.Errorf("%s: layer %d, %d: want %v, got %v", g.Model, l, i, x.want[i], x.got[i])
					}
				}
			}
		}
		c := src.Config()
		layers := 0.0
		for _, y := range c.Layers {
			layers += float64(y.AttentionParams(c.HiddenSize) + y.MLPParams(c.HiddenSize))
		}
		s, err := flap{}.Prune(c, plan.Options{}, g.Share*layers, scores)
		if err != nil {
			t.Fatal(err)
		}
		for l, y := range s.Layers {
			if !reflect.DeepEqual(y.KVHeads, g.KeptKVHeads[l]) || !reflect.DeepEqual(y.Neurons, g.KeptNeurons[l]) {
				t.Errorf("%s, %v: layer %d: want KV heads %v and neurons %v, got %v and %v", g.Model, g.Share, l, g.KeptKVHeads[l], g.KeptNeurons[l], y.KVHeads, y.Neurons)
			}
		}
		if removed := float64(c.Params() - s.Config(c).Params()); removed < g.Share*layers || removed >= g.Share*layers+float64(3*c.HiddenSize) {
			t.Errorf("%s: want %v parameters removed and less than a neuron more, got %v", g.Model, g.Share*layers, removed)
		}
	}
}
