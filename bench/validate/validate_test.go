package validate

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mop/bench/sweep"
	"mop/internal/journal"
	"mop/prune/plan"
	"mop/prune/search"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device/cpu"
	"mop/runtime/predict"
)

func base() *config.Config {
	return &config.Config{VocabSize: 40, HiddenSize: 8, HeadDim: 4, RopeTheta: 1e4, NormEps: 1e-5, MaxPositions: 64, BOS: -1,
		Layers: slices.Repeat([]config.LayerShape{{Heads: 4, KVHeads: 2, HeadDim: 4, Intermediate: 256}}, 6)}
}

// table is of a device on which an MLP block costs what the next multiple of tile
// neurons costs.
func table(tile int) *predict.Table {
	one := func(x int) predict.Time {
		return predict.Time{MS: float64(x), Lo: float64(x), Hi: float64(x), N: 1}
	}
	t := &predict.Table{Version: predict.Version, Model: predict.ModelOf("test", base(), "F32"), Machine: predict.Source{PrefillRows: 512}}
	for _, phase := range []string{"prefill", "decode"} {
		p := predict.Pass{Phase: phase, Batch: 1, Tokens: 12, Other: one(1)}
		for k := 1; k <= 2; k++ {
			p.Attention = append(p.Attention, predict.Attention{Heads: 2 * k, KVHeads: k, QKV: one(20 * k), Attend: one(k), Output: one(10 * k)})
		}
		for w := 1; w <= 256; w++ {
			cost := (w + tile - 1) / tile * tile
			p.MLP = append(p.MLP, predict.MLP{Intermediate: w, GateUp: one(2 * cost), Down: one(cost)})
		}
		t.Passes = append(t.Passes, p)
	}
	return t
}

func subject(width int) *Subject {
	s := &Subject{Name: "test", Base: base(), Layers: base().Layers}
	s.Layers = withWidth(s.Layers, width)
	return s
}

func run(t *testing.T, s *Subject, x *predict.Table) *Page {
	t.Helper()
	v, err := Run(context.Background(), nil, s, x, nil, sweep.VerifyOptions{Workload: predict.Workload{In: 12, Out: 20, Batch: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Width 129 costs what 192 costs on tiles of 64: rounding down saves a third.
func TestTilesAreNoticed(t *testing.T) {
	v := run(t, subject(129), table(64))
	if v.Friendly || !strings.Contains(v.Verdict, "rounding its widths down") {
		t.Errorf("want a plan that should be rounded, got %q", v.Verdict)
	}
	if v.EqualWidth < 129 || v.EqualWidth > 192 {
		t.Errorf("want an equal width of 129 to 192, got %d", v.EqualWidth)
	}
	if v := run(t, subject(128), table(64)); !v.Friendly {
		t.Errorf("want a round width to be friendly, got %q", v.Verdict)
	}
	if v := run(t, subject(129), table(1)); !v.Friendly {
		t.Errorf("want an odd width to be friendly where it costs nothing extra, got %q", v.Verdict)
	}
}

// Two layers of one neuron cost their attention: fewer, wider layers are faster.
func TestBetterPlanOfTheSameSize(t *testing.T) {
	x := table(1)
	for i := range x.Passes {
		for j := range x.Passes[i].Attention {
			x.Passes[i].Attention[j].QKV.MS *= 100
		}
	}
	v := run(t, subject(60), x)
	if v.Better == nil || len(v.Better.Shapes) == 6 && v.Better.Shapes[0].Heads == 4 {
		t.Fatalf("want fewer layers or heads, got %+v", v.Better)
	}
	if d := v.Better.Params - v.Params; d > 0 || d < -6*3*8 {
		t.Errorf("want the same size to within a neuron a layer, got %d and %d", v.Better.Params, v.Params)
	}
}

// The page of a plan file names the dense model and the plan, with measured times where a
// device measures them.
func TestPage(t *testing.T) {
	kinds, err := plan.ParseSequence("GLG")
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.DryRun(base(), plan.Options{}, plan.Sequence(kinds), 0)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "plan.json")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Write(f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	s, err := Open(file)
	if err == nil {
		err = s.UseTable(table(1))
	}
	if err != nil {
		t.Fatal(err)
	}
	dev, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	clock := time.Unix(0, 0)
	v, err := Run(context.Background(), dev, s, table(1), nil, sweep.VerifyOptions{Workload: predict.Workload{In: 12, Out: 5, Batch: 1}, DType: checkpoint.F32, Runs: 2, Tries: 3,
		Now:       func() time.Time { clock = clock.Add(time.Millisecond); return clock },
		OtherLoad: func() (time.Duration, time.Duration, bool) { return 0, 0, true }})
	if err != nil {
		t.Fatal(err)
	}
	// The clock counts its readings: one for each token, so five for every model.
	if *v.Measured != 5 || *v.DenseMeasured != 5 || v.Disturbed {
		t.Errorf("want five readings of the clock, got %v and %v", *v.Measured, *v.DenseMeasured)
	}
	if len(v.Profile.Decode.Layers) != 5 || v.Parts[0].Decode != 5 {
		t.Errorf("want a millisecond for the QKV of each of five layers, got %+v", v.Parts)
	}
	var out bytes.Buffer
	if err := v.Write(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"dense", "plan", "gain per compression", "Where the time goes", "gate and up", "Slowest layers"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("want %q in the page:\n%s", want, out.String())
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("want an error for a file that does not exist")
	}
}

// With losses that say that the last layers lose little, a plan that cuts all layers alike
// is not the best of its time; a plan of the least loss has no better one.
func TestQualityFromLosses(t *testing.T) {
	c, x := base(), table(1)
	known := lossesFile(t, c)
	s := subject(128)
	s.fillFrom()
	p, err := x.Predictor(predict.Workload{In: 12, Out: 20, Batch: 1})
	if err != nil {
		t.Fatal(err)
	}
	q, err := compareQuality(p, s, known, p.Latency(s.Layers))
	if err != nil {
		t.Fatal(err)
	}
	if want := 0.5 * (1 + 1 + 1 + 1 + 0.1 + 0.1); math.Abs(q.Loss-want) > 1e-9 {
		t.Errorf("want a loss of %v, got %v", want, q.Loss)
	}
	if q.Better == nil || q.Better.Loss > 0.8*q.Loss || q.Better.Predicted > p.Latency(s.Layers)*1.0001 {
		t.Errorf("want a better plan of the same time, got %+v", q.Better)
	}
	if q.Faster == nil || q.Faster.Loss > q.Loss || q.Faster.Predicted > 0.95*p.Latency(s.Layers) {
		t.Fatalf("want a faster plan of the same loss, got %+v", q.Faster)
	}
	s.Layers = q.Better.Shapes
	if q, err = compareQuality(p, s, known, p.Latency(s.Layers)); err != nil || q.Better != nil {
		t.Errorf("want no plan that is better than the best, got %+v, %v", q.Better, err)
	}
}

// lossesFile is what a search stores: neurons of the last two layers lose a tenth of what
// those of the others lose, and attention blocks too much to be touched.
func lossesFile(t *testing.T, c *config.Config) *search.BlockLosses {
	t.Helper()
	type line struct {
		Name  string  `json:"name"`
		Value float64 `json:"value"`
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".search"), 0o777); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open[line](filepath.Join(dir, ".search", "losses.jsonl"), map[string]string{"levels": "16"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for l, s := range c.Layers {
		for k := range s.KVHeads {
			if err := j.Add(line{fmt.Sprintf("attention %d %d", l, k), 100}); err != nil {
				t.Fatal(err)
			}
		}
		worst := 1.0
		if l >= 4 {
			worst = 0.1
		}
		for v := range 16 {
			if err := j.Add(line{fmt.Sprintf("mlp %d %d", l, v), worst * float64(16-v) / 16}); err != nil {
				t.Fatal(err)
			}
		}
	}
	known, err := search.ReadLosses(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	return known
}
