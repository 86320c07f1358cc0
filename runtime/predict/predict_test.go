package predict

import (
	"math"
	"slices"
	"strings"
	"testing"

	"mop/runtime/config"
)

// The times of a made-up device whose costs are straight lines, so that interpolation is
// exact: reading a weight takes time, and so does multiplying it by each row.
func qkv(h, rows float64) float64         { return 0.02*h + 0.001*h*rows }
func attend(h, pairs float64) float64     { return 1e-4 * h * pairs }
func output(h, rows float64) float64      { return 0.01*h + 0.0005*h*rows }
func mlpTime(width, rows float64) float64 { return 1e-3*width + 1e-5*width*rows }

func table() *Table {
	t := &Table{Version: Version, Machine: Source{PrefillRows: 512},
		Model: Model{Name: "made up", VocabSize: 100, HiddenSize: 64, Shapes: slices.Repeat([]config.LayerShape{{Heads: 8, KVHeads: 4, HeadDim: 8, Intermediate: 512}}, 6)}}
	one := func(x float64) Time { return Time{MS: x, Lo: x, Hi: x, N: 1} }
	for _, x := range []struct {
		phase  string
		batch  int
		tokens float64
	}{{"prefill", 1, 1}, {"prefill", 1, 12}, {"prefill", 1, 64}, {"prefill", 1, 512}, {"prefill", 8, 12},
		{"decode", 1, 5}, {"decode", 1, 600}, {"decode", 8, 16}} {
		rows, pairs := float64(x.batch)*x.tokens, x.tokens*(x.tokens+1)/2*float64(x.batch)
		if x.phase == "decode" {
			rows, pairs = float64(x.batch), x.tokens*float64(x.batch)
		}
		p := Pass{Phase: x.phase, Batch: x.batch, Tokens: x.tokens, Other: one(0.5)}
		for h := 2.0; h <= 8; h += 2 {
			p.Attention = append(p.Attention, Attention{int(h), int(h) / 2, one(qkv(h, rows)), one(attend(h, pairs)), one(output(h, rows))})
		}
		for _, w := range []float64{64, 256, 512} {
			p.MLP = append(p.MLP, MLP{int(w), one(mlpTime(w, rows) / 2), one(mlpTime(w, rows) / 2)})
		}
		t.Passes = append(t.Passes, p)
	}
	return t
}

// shapes of six layers, some without a block.
func shapes() []config.LayerShape {
	s := func(h, i int) config.LayerShape {
		return config.LayerShape{Heads: h, KVHeads: h / 2, HeadDim: 8, Intermediate: i}
	}
	return []config.LayerShape{s(8, 512), s(2, 300), s(0, 64), s(6, 0), s(4, 111), s(0, 200)}
}

// expected adds up the made-up device's times.
func expected(layers []config.LayerShape, in, out, batch int) float64 {
	b, n := float64(batch), float64(batch*in)
	total := 0.5 * float64(out)
	last := 4 // the last layer with attention
	for l, s := range layers {
		h, w := float64(s.Heads), float64(s.Intermediate)
		rows, pairs := n, b*float64(in*(in+1)/2)
		if n >= 32 && l >= last {
			rows, pairs = b, b*float64(in)
			if l == last {
				total += qkv(h, n)
			}
		}
		if h > 0 {
			total += qkv(h, rows) + attend(h, pairs) + output(h, rows)
		}
		if w > 0 {
			total += mlpTime(w, rows)
		}
		for step := range out - 1 {
			if h > 0 {
				total += qkv(h, b) + attend(h, b*float64(in+step)) + output(h, b)
			}
			if w > 0 {
				total += mlpTime(w, b)
			}
		}
	}
	return total
}

func TestPredictionIsExactForStraightLines(t *testing.T) {
	for _, w := range []Workload{{In: 12, Out: 1, Batch: 1}, {In: 12, Out: 128, Batch: 1}, {In: 100, Out: 16, Batch: 1}, {In: 12, Out: 40, Batch: 4}, {In: 512, Out: 200, Batch: 1}} {
		p, err := table().Predictor(w)
		if err != nil {
			t.Fatal(err)
		}
		got, want := p.Latency(shapes()), expected(shapes(), w.In, w.Out, w.Batch)
		if math.Abs(got/want-1) > 1e-9 {
			t.Errorf("%+v: want %v ms, got %v", w, want, got)
		}
	}
}

func TestPartsAddUp(t *testing.T) {
	layers := shapes()
	latency := func(part Part) float64 {
		p, err := table().Predictor(Workload{In: 12, Out: 21, Batch: 1, Part: part})
		if err != nil {
			t.Fatal(err)
		}
		return p.Latency(layers)
	}
	if got, want := latency(PrefillOnly)+20*latency(DecodeStep), latency(EndToEnd); math.Abs(got/want-1) > 1e-9 {
		t.Errorf("want %v, got %v", want, got)
	}
}

// A prompt longer than a pass runs in several, the later ones over what the cache holds.
func TestPrefillPasses(t *testing.T) {
	got := prefillPasses(Workload{In: 700, Out: 1, Batch: 2}, 512)
	want := []prefillPass{{512, [][2]int{{0, 512}}, true}, {188, [][2]int{{512, 188}}, true}, {512, [][2]int{{0, 512}}, true}, {188, [][2]int{{512, 188}}, true}}
	if len(got) != len(want) {
		t.Fatalf("want %v, got %v", want, got)
	}
	for i := range want {
		if got[i].rows != want[i].rows || !slices.Equal(got[i].chunks, want[i].chunks) {
			t.Errorf("pass %d: want %v, got %v", i, want[i], got[i])
		}
	}
	if got := prefillPasses(Workload{In: 100, Out: 1, Batch: 6}, 512); len(got) != 2 || got[0].rows != 500 || len(got[1].chunks) != 1 {
		t.Errorf("want five prompts in a pass and one in the next, got %v", got)
	}
}

func TestTableIsChecked(t *testing.T) {
	for want, change := range map[string]func(*Table){
		"version: want 1, got 2":          func(t *Table) { t.Version = 2 },
		"pass 0: phase":                   func(t *Table) { t.Passes[0].Phase = "training" },
		"want a width and times above 0":  func(t *Table) { t.Passes[1].MLP[0].Down.MS = 0 },
		"want ascending widths":           func(t *Table) { t.Passes[1].MLP[0].Intermediate = 9999 },
		"want heads, KV heads that":       func(t *Table) { t.Passes[2].Attention[0].KVHeads = 3 },
		"passes: want at least one":       func(t *Table) { t.Passes = nil },
		"tokens above 0":                  func(t *Table) { t.Passes[0].Tokens = math.NaN() },
		"want layers, a hidden size and ": func(t *Table) { t.Model.Shapes = nil },
		"decode: want attention and MLP":  func(t *Table) { t.Passes[len(t.Passes)-1].MLP = nil },
		"want attention and MLP blocks":   func(t *Table) { t.Passes[0].Attention = nil },
		"up to 1e+09 ms":                  func(t *Table) { t.Passes[0].MLP[1].GateUp.MS = 1e308 },
		"want 0 to 1e+09 ms":              func(t *Table) { t.Passes[0].Other.MS = 1e308 },
		"prefill_rows: want at least 1":   func(t *Table) { t.Machine.PrefillRows = 0 },
		"model: layer 1: want heads":      func(t *Table) { t.Model.Shapes[1].Heads = -1 },
		"whole 0: want prefill or decode": func(t *Table) { t.Whole = []Whole{{Phase: "x", Layers: 1, Batch: 1, Time: Time{MS: 1}}} },
	} {
		x := table()
		change(x)
		if err := x.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if err := table().Check(); err != nil {
		t.Error(err)
	}
	if _, err := Parse([]byte(`{"version":1,"speed":3}`)); err == nil {
		t.Error("want an error for a field that does not exist")
	}
}

// A table is refused for models whose query heads share KV heads as in none of its blocks.
func TestTableOfOtherSharing(t *testing.T) {
	x := table()
	c := &config.Config{VocabSize: x.Model.VocabSize, HiddenSize: x.Model.HiddenSize, Tied: x.Model.Tied, HeadDim: x.Model.Shapes[0].HeadDim, Layers: shapes()}
	if err := x.CheckModel(c); err != nil {
		t.Error(err)
	}
	c.Layers[3] = config.LayerShape{Heads: 6, KVHeads: 2, HeadDim: 8, Intermediate: 64}
	if err := x.CheckModel(c); err == nil || !strings.Contains(err.Error(), "3 query heads share a KV head, as in layer 3") {
		t.Errorf("want a refusal, got %v", err)
	}
}

// A device on which widths cost what the next multiple of 16 costs.
func TestRoundTo(t *testing.T) {
	x := table()
	for i := range x.Passes {
		x.Passes[i].MLP = nil
		for _, w := range []int{64, 120, 127, 128, 136, 144, 161, 176, 192, 201, 208, 233, 240, 256} {
			up := float64((w + 15) / 16 * 16)
			half := Time{MS: up / 2e3, Lo: up / 2e3, Hi: up / 2e3, N: 3}
			x.Passes[i].MLP = append(x.Passes[i].MLP, MLP{w, half, half})
		}
	}
	if m, ok := x.RoundTo(); !ok || m != 16 {
		t.Errorf("want multiples of 16, got %d, %v", m, ok)
	}
	for i := range x.Passes {
		for j := range x.Passes[i].MLP {
			m := &x.Passes[i].MLP[j]
			m.GateUp.MS, m.Down.MS = float64(m.Intermediate), float64(m.Intermediate)
		}
	}
	if m, ok := x.RoundTo(); !ok || m != 1 {
		t.Errorf("want any width, got %d, %v", m, ok)
	}
}

func TestExtrapolated(t *testing.T) {
	for _, c := range []struct {
		w    Workload
		want string
	}{
		{Workload{In: 12, Out: 128, Batch: 1}, ""},
		{Workload{In: 1000, Out: 300, Batch: 8}, ""},
		{Workload{In: 4000, Out: 128, Batch: 1}, "up to 600 positions were measured, not 4128"},
		{Workload{In: 12, Out: 128, Batch: 9}, "batches of up to 8 were measured, not 9"},
	} {
		if got := table().Extrapolated(c.w); got != c.want {
			t.Errorf("%+v: want %q, got %q", c.w, c.want, got)
		}
	}
}

// Tables of former versions have the bytes of a number in the KV cache alone.
func TestKVType(t *testing.T) {
	for _, c := range []struct {
		s     Source
		kind  string
		same  []string
		other []string
	}{
		{Source{CacheBytes: 4}, "f32", []string{"f32"}, []string{"f16", "int8", "16-bit"}},
		{Source{CacheBytes: 2}, "16-bit", []string{"f16", "bf16", "16-bit"}, []string{"f32", "int8"}},
		{Source{CacheBytes: 1}, "int8", []string{"int8"}, []string{"f16"}},
		{Source{CacheType: "f16", CacheBytes: 2}, "f16", []string{"f16"}, []string{"bf16", "16-bit", "f32"}},
	} {
		if got := c.s.KVType(); got != c.kind {
			t.Errorf("%+v: want %s, got %s", c.s, c.kind, got)
		}
		for _, kind := range append(c.same, c.other...) {
			if want := slices.Contains(c.same, kind); c.s.SameKVType(kind) != want {
				t.Errorf("%+v and %s: want equal %v", c.s, kind, want)
			}
		}
	}
}
