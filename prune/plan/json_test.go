package plan

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"mop/runtime/config"
)

// pruned returns a small model's plan with every field that a run sets.
func pruned(t testing.TB) (*config.Config, State, *Plan) {
	t.Helper()
	c := &config.Config{VocabSize: 32, HiddenSize: 16, HeadDim: 4}
	for range 6 {
		c.Layers = append(c.Layers, Shape{Heads: 8, KVHeads: 4, HeadDim: 4, Intermediate: 24})
	}
	r := rand.New(rand.NewPCG(5, 5))
	s := New(c)
	o, err := Options{Rule: "groups", RoundTo: 8}.Resolve(s)
	if err != nil {
		t.Fatal(err)
	}
	p := NewPlan(c, o)
	p.Criterion, p.Sequence, p.Seed, p.Targets = "kl", "", 7, []float64{0.2}
	p.Texts = map[string]string{"text": "ab12", "calibration": "cd34"}
	p.Settings = map[string]any{"windows": 32.0}
	for _, kind := range []Kind{Width, Depth, Width, Width} {
		next, kind, forced, err := TakeStep(kind, s.PruneDepth, func() (State, error) { return s.PruneWidth(c.HiddenSize, o, 0, scoresOf(r, s)) })
		if err != nil {
			t.Fatal(err)
		}
		s = next
		x := float64(len(p.Steps)) / 3
		p.Add(c, s, kind, forced, map[Kind]*float64{Depth: &x, Width: nil})
	}
	p.Step, p.Target, p.Layers, p.Groups = 4, 0.2, s.Layers, s.Groups
	return c, s, p
}

func written(t testing.TB, p *Plan) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := p.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestWriteParse(t *testing.T) {
	c, s, p := pruned(t)
	data := written(t, p)
	back, err := Parse(data)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	if !reflect.DeepEqual(back, p) {
		t.Errorf("want %+v\ngot  %+v", p, back)
	}
	plain, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var squeezed bytes.Buffer
	if err := json.Compact(&squeezed, data); err != nil || !bytes.Equal(squeezed.Bytes(), plain) {
		t.Errorf("Write says other than the struct's tags: %v\n%s\n%s", err, squeezed.Bytes(), plain)
	}
	if lines := bytes.Count(data, []byte("\n")); lines > 40 {
		t.Errorf("%d lines: want one a field, step and layer", lines)
	}
	got, err := back.Replay(c)
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("replay: want %+v\ngot  %+v %v", s, got, err)
	}
}

// TestPlanFields lists the JSON fields that other software depends on.
func TestPlanFields(t *testing.T) {
	p := dry(t, mixedPlain(), Options{}, "LG")
	var got struct {
		Base  map[string]any
		Steps []map[string]any
	}
	if err := json.Unmarshal(written(t, p), &got); err != nil {
		t.Fatal(err)
	}
	if got.Base["params"] != float64(p.Base.Params) || len(got.Steps) != 2 {
		t.Fatalf("got %v", got)
	}
	step := got.Steps[0]
	if step["step"] != 1.0 || step["kind"] != "depth" || step["params"] != float64(p.Steps[0].Params) || step["compression"] != p.Steps[0].Compression {
		t.Errorf("got %v", step)
	}
	if want := map[string]any{"heads": 4.0, "kv_heads": 4.0, "head_dim": 4.0, "mlp": 48.0}; !reflect.DeepEqual(step["shapes"].([]any)[0], want) {
		t.Errorf("want %v, got %v", want, step["shapes"])
	}
	if empty := written(t, NewPlan(mixedPlain(), Options{})); !bytes.Contains(empty, []byte(`"steps": []`)) {
		t.Errorf("a plan without steps: %s", empty)
	}
}

func TestParseRefuses(t *testing.T) {
	_, _, whole := pruned(t)
	for _, c := range []struct {
		want  string
		spoil func(*Plan)
	}{
		{"step 2: kind", func(p *Plan) { p.Steps[1].Kind = "breadth" }},
		{"step 3: want steps in order", func(p *Plan) { p.Steps[2].Step = 2 }},
		{"step 2: shapes: a depth step removes layer 3", func(p *Plan) { p.Steps[1].Shapes = p.Steps[0].Shapes }},
		{"step 1: shapes: want 6 layers, got 5", func(p *Plan) { p.Steps[0].Shapes = p.Steps[0].Shapes[1:] }},
		{"step 3: layer 0: mlp: want 0 to", func(p *Plan) { p.Steps[2].Shapes[0].Intermediate = 25 }},
		{"step 3: layer 1: heads", func(p *Plan) { p.Steps[2].Shapes[1].Heads = 9 }},
		{"step 3: layer 1: kv_heads", func(p *Plan) { p.Steps[2].Shapes[1].KVHeads = 1 }},
		{"step 3: layer 1: head_dim", func(p *Plan) { p.Steps[2].Shapes[1].HeadDim = 8 }},
		{"step 4: params: its shapes make", func(p *Plan) { p.Steps[3].Params++ }},
		{"step 4: compression", func(p *Plan) { p.Steps[3].Compression += 1e-6 }},
		{"step 1: scores: want depth and width", func(p *Plan) { p.Steps[0].Scores = map[Kind]*float64{"kl": nil} }},
		{"base: params", func(p *Plan) { p.Base.Params-- }},
		{"base: vocab", func(p *Plan) { p.Base.VocabSize = 0 }},
		{"base: d_model", func(p *Plan) { p.Base.HiddenSize = 1 << 40 }},
		{"base: layer 1: head_dim", func(p *Plan) { p.Base.Shapes[1].HeadDim = 3 }},
		{"base: layer 2: heads", func(p *Plan) { p.Base.Shapes[2].Heads = 1 << 60 }},
		{"base: layer 2: kv_heads", func(p *Plan) { p.Base.Shapes[2].KVHeads = 3 }},
		{"base: layer 2: mlp", func(p *Plan) { p.Base.Shapes[2].Intermediate = -1 }},
		{"base: shapes", func(p *Plan) { p.Base.Shapes = nil }},
		{"rule: want one of", func(p *Plan) { p.Rule = "" }},
		{"round_to: want", func(p *Plan) { p.RoundTo = 0 }},
		{"sequence: want L or G", func(p *Plan) { p.Sequence = "LX" }},
		{"targets: want", func(p *Plan) { p.Targets[0] = 1 }},
		{"target: want", func(p *Plan) { p.Target = -0.2 }},
		{"step: want 0 to 4, got 5", func(p *Plan) { p.Step = 5 }},
		{"layers: step 1 has 6, got 5", func(p *Plan) { p.Step = 1 }},
		{"layer 0: shape", func(p *Plan) { p.Step = 3 }},
		{"layer 3: from: the steps leave base layer 4", func(p *Plan) { p.Layers[3].From = 3 }},
		{"layer 2: want the indices of its heads and neurons", func(p *Plan) { p.Layers[2].Heads, p.Layers[2].KVHeads, p.Layers[2].Neurons = nil, nil, nil }},
		{"layer 2: mlp: want 16 indices, got 15", func(p *Plan) { p.Layers[2].Neurons = p.Layers[2].Neurons[1:] }},
		{"layer 2: mlp: entry 15: want ascending indices below 24", func(p *Plan) { p.Layers[2].Neurons[15] = 24 }},
		{"layer 2: mlp: entry 0", func(p *Plan) { p.Layers[2].Neurons[0] = -1 }},
		{"layer 2: mlp: entry 1", func(p *Plan) { p.Layers[2].Neurons[1] = p.Layers[2].Neurons[0] }},
		{"layer 2: mlp: entry 4", func(p *Plan) { m := p.Layers[2].Neurons; m[3], m[4] = m[4], m[3] }},
		{"layer 0: heads: entry 1: kv_heads keep", func(p *Plan) {
			h := p.Layers[0].Heads
			for i := range h { // ascending, in range, but not the kept groups' heads
				h[i] = i
			}
			p.Layers[0].KVHeads[len(p.Layers[0].KVHeads)-1] = 3
			p.Layers[0].KVHeads[0] = 0
			h[0], h[1] = 0, 2
			for i := 2; i < len(h); i++ {
				h[i] = i + 1
			}
		}},
	} {
		p, err := Parse(written(t, whole))
		if err != nil {
			t.Fatal(err)
		}
		c.spoil(p)
		_, err = Parse(written(t, p))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
	text := string(written(t, whole))
	for name, data := range map[string]string{
		"nothing":          "",
		"a torn file":      text[:len(text)/2],
		"data after":       text + "{}",
		"an unknown field": strings.Replace(text, `"seed"`, `"sead"`, 1),
		"a field twice":    strings.Replace(text, `"seed": 7`, `"seed": 7, "seed": 8`, 1),
		"a text for count": strings.Replace(text, `"seed": 7`, `"seed": "7"`, 1),
		"a list":           "[]",
		"null":             "null",
	} {
		if _, err := Parse([]byte(data)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestReplayRefuses(t *testing.T) {
	c, _, p := pruned(t)
	for want, other := range map[string]*config.Config{
		"layer 2 is not as in the plan": func() *config.Config {
			o := c.Clone()
			o.Layers[2].Intermediate, o.Layers[3].Intermediate = 25, 23
			return o
		}(),
		"base: the plan is of a model of": func() *config.Config { o := c.Clone(); o.VocabSize++; return o }(),
	} {
		if _, err := p.Replay(other); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if _, err := dry(t, c, Options{}, "LG").Replay(c); err == nil || !strings.Contains(err.Error(), "sizes alone") {
		t.Errorf("a dry run was replayed: %v", err)
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	if err := dry(t, preset(t, "llama-2-7b"), Options{Rule: "paper"}, "LGGLLLG").Table(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if got, want := strings.Join(strings.Fields(lines[8]), " "), "7 width 28 29 29 9941 5,385,605,120 20.08 %"; got != want {
		t.Errorf("want %q, got %q in\n%s", want, got, out.String())
	}
	if got, want := strings.Join(strings.Fields(lines[1]), " "), "0 base 32 32 32 11008 6,738,415,616 0.00 %"; got != want {
		t.Errorf("want %q, got %q", want, got)
	}
	out.Reset()
	if err := dry(t, mixedPlain(), Options{}, "LL").Table(&out); err != nil {
		t.Fatal(err)
	}
	if want := "step 2: " + ErrDepth.Error(); !strings.Contains(out.String(), want) {
		t.Errorf("want %q in\n%s", want, out.String())
	}
}

// Any input is either refused, or is written so that it is read as the same plan.
func FuzzPlan(f *testing.F) {
	_, _, p := pruned(f)
	f.Add(written(f, p))
	p.Layers = nil
	f.Add(written(f, p))
	f.Add([]byte(`{"base":{"params":11,"vocab":1,"d_model":1,"shapes":[{"heads":0,"kv_heads":0,"head_dim":1,"mlp":3}]},"rule":"auto","round_to":1,"heads_multiple":1,"allocation":"global","steps":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		once := written(t, p)
		again, err := Parse(once)
		if err != nil {
			t.Fatalf("%v\n%s", err, once)
		}
		if twice := written(t, again); !bytes.Equal(once, twice) {
			t.Errorf("%s\n%s", once, twice)
		}
		for n := range len(p.Steps) + 1 {
			if _, err := p.LayerShapes(n); err != nil {
				t.Error(err)
			}
		}
		if err := p.Table(new(bytes.Buffer)); err != nil {
			t.Error(err)
		}
		c := &config.Config{VocabSize: p.Base.VocabSize, HiddenSize: p.Base.HiddenSize, HeadDim: p.Base.Shapes[0].HeadDim, Tied: p.Base.Tied, Layers: p.Base.Shapes}
		if s, err := p.Replay(c); err == nil {
			if next, err := s.PruneWidth(c.HiddenSize, p.Options, 0, nil); err == nil {
				for l := range next.Layers {
					if err := checkPruned(next.Layers[l].Shape, s.Layers[l].Shape); err != nil {
						t.Error(err)
					}
				}
			}
		}
	})
}
