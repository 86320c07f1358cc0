package search

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/internal/progress"
	"mop/prune"
	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/model"
	"mop/runtime/predict"
)

// The knapsack finds the same least loss as trying all choices.
func TestKnapsackAgainstAllChoices(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		blocks := make([][]choice, 5)
		for i := range blocks {
			for range 2 + r.IntN(3) {
				blocks[i] = append(blocks[i], choice{float64(r.IntN(40)), r.Float64()})
			}
		}
		budget := float64(40 + r.IntN(80))
		best := math.Inf(1)
		var try func(i int, cost, loss float64)
		try = func(i int, cost, loss float64) {
			if i == len(blocks) {
				if cost < budget {
					best = min(best, loss)
				}
				return
			}
			for _, c := range blocks[i] {
				try(i+1, cost+c.cost, loss+c.loss)
			}
		}
		try(0, 0, 0)
		chosen := knapsack(blocks, budget)
		if chosen == nil {
			if !math.IsInf(best, 1) {
				t.Fatalf("want a loss of %v, got no choice", best)
			}
			continue
		}
		cost, loss := 0.0, 0.0
		for i, c := range chosen {
			cost, loss = cost+blocks[i][c].cost, loss+blocks[i][c].loss
		}
		// Costs are whole numbers, far coarser than a bin, so that rounding excludes at
		// most choices that meet the budget exactly.
		if cost > budget || loss > best+1e-9 {
			t.Errorf("budget %v: want a loss of %v, got %v for %v", budget, best, loss, cost)
		}
	}
}

func TestInterpolate(t *testing.T) {
	got := interpolate([]int{0, 2, 6, 8}, []float64{8, 4, 2, 0}, 8)
	if want := []float64{8, 6, 4, 3.5, 3, 2.5, 2, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("want %v, got %v", want, got)
	}
}

const demoModel = "../../bench/demo/model"

// Powers of the losses spread the cuts over more blocks, and a least level holds for every block.
func TestBentLosses(t *testing.T) {
	g := grid{slices.Repeat([]config.LayerShape{{Heads: 2, KVHeads: 2, HeadDim: 4, Intermediate: 8}}, 2), 4}
	count := func(s config.LayerShape) float64 { return float64(s.Intermediate) }
	k := &cost{func(layers []config.LayerShape) (n float64) {
		for _, s := range layers {
			n += count(s)
		}
		return n
	}, func(config.LayerShape) float64 { return 0 }, count, 1}
	heads := [][]float64{{1, 0.5, 0}, {1, 0.5, 0}}
	for _, tt := range []struct {
		mlp   [][]float64
		power float64
		least int
		want  []int
	}{
		{[][]float64{{1.5, 1.3, 1, 0.5, 0}, {1.6, 1.5, 1, 0.6, 0}}, 1, 0, []int{0, 4}},
		{[][]float64{{1.5, 1.3, 1, 0.5, 0}, {1.6, 1.5, 1, 0.6, 0}}, 2, 0, []int{2, 2}},
		{[][]float64{{1.5, 1.3, 1, 0.5, 0}, {1.6, 1.5, 1, 0.6, 0}}, 1, 1, []int{1, 3}},
		{[][]float64{{-0.2, 0.1, 0.1, 0.1, 0}, {1, 0.5, 0.3, 0.1, 0}}, 2, 0, []int{0, 4}}, // less than nothing is lost
	} {
		x := (&losses{heads, tt.mlp}).bent(tt.power, tt.least)
		if got, err := g.divide(x, k, 0.5, true); err != nil || !slices.Equal(got.Levels, tt.want) {
			t.Errorf("power %v, at least level %d: want levels %v, got %v, %v", tt.power, tt.least, tt.want, got.Levels, err)
		}
	}
	if _, err := g.divide((&losses{heads, [][]float64{{1, 1, 1, 1, 0}, {1, 1, 1, 1, 0}}}).bent(1, 3), k, 0.5, true); err == nil {
		t.Error("want an error where the least levels exceed the target")
	}
}

// proportional is a table of a device on which time is proportional to size.
func proportional(c *config.Config) *predict.Table {
	one := func(x int) predict.Time { return predict.Time{MS: float64(x) * 1e-3, Lo: 1e-6, Hi: 1, N: 1} }
	t := &predict.Table{Version: predict.Version, Model: predict.ModelOf("demo", c, "BF16"), Machine: predict.Source{PrefillRows: 512}}
	for _, phase := range []string{"prefill", "decode"} {
		for _, tokens := range []float64{12, 100} {
			p := predict.Pass{Phase: phase, Batch: 1, Tokens: tokens, Other: one(100)}
			s := c.Layers[0]
			for k := 1; k <= s.KVHeads; k++ {
				h := k * s.Heads / s.KVHeads
				p.Attention = append(p.Attention, predict.Attention{Heads: h, KVHeads: k, QKV: one(200 * h), Attend: one(10 * h), Output: one(100 * h)})
			}
			for _, w := range []int{s.Intermediate / 2, s.Intermediate} {
				p.MLP = append(p.MLP, predict.MLP{Intermediate: w, GateUp: one(2 * w), Down: one(w)})
			}
			t.Passes = append(t.Passes, p)
		}
	}
	return t
}

// tinyModel writes a model of four layers of random weights with grouped-query attention.
func tinyModel(t *testing.T) (string, *config.Config) {
	t.Helper()
	c, err := config.Load(filepath.Join(demoModel, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	c.HiddenSize, c.HeadDim, c.MaxPositions = 24, 4, 64
	c.Layers = slices.Repeat([]config.LayerShape{{Heads: 6, KVHeads: 3, HeadDim: 4, Intermediate: 36}}, 4)
	c.Extra = map[string]any{"initializer_range": 0.2}
	dir := filepath.Join(t.TempDir(), "model")
	if err := checkpoint.WriteRandom(dir, c, 1, checkpoint.BF16, checkpoint.SaveOptions{Files: checkpoint.SideFiles(demoModel)}); err != nil {
		t.Fatal(err)
	}
	return dir, c
}

func tinyOptions(t *testing.T, out string) Options {
	dir, c := tinyModel(t)
	text := filepath.Join(t.TempDir(), "text")
	story := "Once upon a time there was a little girl who liked to play in the park with her dog. "
	var long string
	for range 40 {
		long += story
	}
	if err := os.WriteFile(text, []byte(long), 0o666); err != nil {
		t.Fatal(err)
	}
	o := Defaults()
	o.Attention = "search"
	o.Model, o.Out, o.Targets, o.Table, o.Calibration, o.Text = dir, out, []float64{0.7}, proportional(c), text, text
	o.Prompts, o.Context, o.LossWindows, o.Windows, o.Levels, o.Generations, o.Offspring = 2, 16, 1, 3, 6, 2, 4
	o.OpenDevice = func() (device.Device, error) { return cpu.New(2) }
	return o
}

// A search meets its target by the table, improves on the knapsack or keeps it, and its
// model is what the plan says.
func TestSearch(t *testing.T) {
	o := tinyOptions(t, filepath.Join(t.TempDir(), "out"))
	models, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	m := models[0]
	if m.Cost > 0.7 || m.Cost < 0.6 || m.KL > m.StartKL || !(m.KL > 0) {
		t.Errorf("want a cost of 0.6 to 0.7 and a KL of at most that before evolution, got %v, %v and %v", m.Cost, m.KL, m.StartKL)
	}
	p, err := plan.Load(filepath.Join(m.Dir, "plan.json"))
	if err != nil {
		t.Fatal(err)
	}
	src, err := checkpoint.Open(m.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	shapes, err := p.LayerShapes(1)
	if err != nil || !slices.Equal(shapes, src.Config().Layers) {
		t.Errorf("want the plan's layers %v, got %v (%v)", shapes, src.Config().Layers, err)
	}
	if p.Steps[0].LatencyMS > 0.7*p.Base.LatencyMS || p.Steps[0].LatencyMS == 0 {
		t.Errorf("want a predicted latency of at most 0.7 of %v, got %v", p.Base.LatencyMS, p.Steps[0].LatencyMS)
	}
}

// A search that is stopped at any moment and resumed ends in the same plan.
func TestSearchResumesToTheSamePlan(t *testing.T) {
	whole := tinyOptions(t, filepath.Join(t.TempDir(), "whole"))
	models, err := Run(context.Background(), whole)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(models[0].Dir, "plan.json"))
	if err != nil {
		t.Fatal(err)
	}
	o := whole
	o.Out, o.Resume = filepath.Join(t.TempDir(), "stopped"), true
	stops := 0
	for limit := 2; ; limit += 7 {
		ctx, cancel := context.WithCancel(context.Background())
		n := 0
		o.Progress = func(progress.Update) {
			if n++; n == limit {
				cancel()
			}
		}
		models, err = Run(ctx, o)
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		stops++
	}
	got, err := os.ReadFile(filepath.Join(models[0].Dir, "plan.json"))
	if err != nil {
		t.Fatal(err)
	}
	if stops < 3 || string(got) != string(want) {
		t.Errorf("stopped %d times: want the same plan\n%s\ngot\n%s", stops, want, got)
	}
}

// Without time and generations there is no evolution.
func TestNoTimeIsNoEvolution(t *testing.T) {
	o := tinyOptions(t, filepath.Join(t.TempDir(), "out"))
	o.Generations, o.Time, o.Offspring = 0, 0, 24
	models, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if m := models[0]; m.KL != m.StartKL {
		t.Errorf("want the model before evolution, got KL %v after %v", m.KL, m.StartKL)
	}
	logs, err := filepath.Glob(filepath.Join(o.Out, ".search", "*", "evaluations.jsonl"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("want one file, got %v, %v", logs, err)
	}
	if text, err := os.ReadFile(logs[0]); err != nil || strings.Contains(string(text), `"name":"generations"`) {
		t.Errorf("want no generations, got %s, %v", text, err)
	}
}

// The target is met by measurement: on a device that gains half of what the table says,
// more has to go.
func TestTargetIsMeasured(t *testing.T) {
	o := tinyOptions(t, filepath.Join(t.TempDir(), "out"))
	o.Generations, o.Time = 0, 0
	p, err := o.Table.Predictor(o.Workload)
	if err != nil {
		t.Fatal(err)
	}
	o.Measure = func(_ context.Context, _ device.Device, base *config.Config, layers []config.LayerShape, dense float64) (float64, error) {
		if dense == 0 {
			dense = p.Latency(base.Layers)
		}
		return dense * (1 + p.Latency(layers)/p.Latency(base.Layers)) / 2, nil
	}
	models, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	shapes, err := models[0].Plan.LayerShapes(1)
	if err != nil {
		t.Fatal(err)
	}
	c := config.Config{Layers: o.Table.Model.Shapes}
	share, _ := o.Measure(context.Background(), nil, &c, shapes, 1)
	if math.Abs(share-0.7) > 0.02 {
		t.Errorf("want a measured share of about 0.7, got %v", share)
	}
}

// Attention blocks stay as they are in a model with grouped-query attention, unless they
// are asked for.
func TestAttentionIsKept(t *testing.T) {
	for _, attention := range []string{"", "auto", "keep", "search"} {
		o := tinyOptions(t, filepath.Join(t.TempDir(), "out"))
		o.Objective, o.Attention, o.Generations, o.Time, o.Targets = "bytes", attention, 3, 0, []float64{0.9}
		if attention == "search" {
			o.Targets = []float64{0.65} // MLP blocks alone do not reach it
		}
		models, err := Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		shapes, err := models[0].Plan.LayerShapes(1)
		if err != nil {
			t.Fatal(err)
		}
		kept := !slices.ContainsFunc(shapes, func(s config.LayerShape) bool { return s.KVHeads < o.Table.Model.Shapes[0].KVHeads })
		if kept != (attention != "search") {
			t.Errorf("attention %q: got the shapes %v", attention, shapes)
		}
	}
	each := grid{layers: []config.LayerShape{{Heads: 4, KVHeads: 4}, {}}} // a KV head for each query head
	if each.keepsAttention("auto") || !each.keepsAttention("keep") {
		t.Error("auto: want attention to be searched where no KV head has several query heads")
	}
	o := tinyOptions(t, filepath.Join(t.TempDir(), "out"))
	o.Attention = "cut"
	if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), `attention: want one of auto, keep, search, got "cut"`) {
		t.Errorf("want a refusal, got %v", err)
	}
}

func TestBytesObjectiveNeedsNoTable(t *testing.T) {
	o := tinyOptions(t, filepath.Join(t.TempDir(), "out"))
	o.Objective, o.Table, o.Generations, o.Time = "bytes", nil, 1, 0
	models, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if c := models[0].Plan.TargetStep().Compression; c < 0.3 || c > 0.4 {
		t.Errorf("want a compression of 0.3 to 0.4, got %v", c)
	}
}

// With a refit, the model that is written has the weights that the search judged.
func TestSearchRefits(t *testing.T) {
	o := tinyOptions(t, filepath.Join(t.TempDir(), "out"))
	o.Objective, o.Refit, o.NeuronScore, o.Prompts = "bytes", true, "wanda", 8
	if err := os.WriteFile(o.Calibration, []byte(prompts(8)), 0o666); err != nil {
		t.Fatal(err)
	}
	models, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	m := models[0]
	src, err := checkpoint.Open(m.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if got := divergenceOf(t, o, src); math.Abs(got-m.KL) > 1e-6*(1+m.KL) {
		t.Errorf("want the written model's KL to be that of the search, %v, got %v", m.KL, got)
	}
	if _, err := prune.Replay(context.Background(), prune.ReplayOptions{Plans: []string{filepath.Join(m.Dir, "plan.json")}, Model: o.Model, Out: t.TempDir()}); err == nil {
		t.Error("want a refusal to make a refitted model from its plan alone")
	}
}

// prompts are JSON lines of different texts.
func prompts(n int) string {
	var out string
	for i := range n {
		out += fmt.Sprintf("{\"text\": \"The %d small dogs and %d cats played in the park until it was dark and they went home.\"}\n", i, 7*i)
	}
	return out
}

// divergenceOf is the mean KL divergence of a model from the base of a search, on the
// search's windows.
func divergenceOf(t *testing.T, o Options, src checkpoint.Source) float64 {
	t.Helper()
	dev, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	base, err := checkpoint.Open(o.Model)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	r := &run{Options: o, grid: grid{base.Config().Layers, o.Levels}, dev: dev, base: base}
	r.Out, r.Progress = t.TempDir(), nil
	if err := r.prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer r.close()
	m, err := model.Load(dev, src)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	x, err := r.divergenceOf(context.Background(), m, o.Windows, nil)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// A short recovery chooses among the best candidates, is discarded, and is not repeated by
// a search that resumes.
func TestSearchWithShortRecovery(t *testing.T) {
	o := tinyOptions(t, filepath.Join(t.TempDir(), "out"))
	o.Objective, o.Short = "bytes", 2
	o.Recipe.Data, o.Recipe.Batch, o.Recipe.Rank, o.Recipe.MaxLength = filepath.Join(t.TempDir(), "rows"), 2, 2, 32
	if err := os.WriteFile(o.Recipe.Data, []byte(prompts(8)), 0o666); err != nil {
		t.Fatal(err)
	}
	first, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	src, err := checkpoint.Open(first[0].Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if got := divergenceOf(t, o, src); math.Abs(got-first[0].KL) > 1e-6*(1+got) {
		t.Errorf("want a model that was not trained, of KL %v, got %v", first[0].KL, got)
	}
	o.Resume = true
	o.Progress = func(u progress.Update) {
		if u.Phase == "candidates after a short recovery" && u.Total > finalists {
			t.Errorf("want at most %d candidates, got %d", finalists, u.Total)
		}
	}
	again, err := Run(context.Background(), o)
	if err != nil || !again[0].Plan.SameLayers(first[0].Plan) {
		t.Errorf("want the same model from a search that resumes, got %v", err)
	}
}
