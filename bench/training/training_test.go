package training

import (
	"context"
	"testing"

	"mop/internal/testutil"
	"mop/prune/finetune"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/dataset"
	"mop/runtime/device/cpu"
	"mop/runtime/model"
	"mop/runtime/tokenizer"
)

// A small model's row: what was measured is what was asked for, and the rates are
// those of its own tokens and seconds.
func TestMeasure(t *testing.T) {
	dev, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	c := &config.Config{HiddenSize: 64, VocabSize: 96, MaxPositions: 128, NormEps: 1e-5, RopeTheta: 10000, BOS: 1, DType: "bfloat16"}
	for range 2 {
		c.Layers = append(c.Layers, config.LayerShape{Heads: 3, KVHeads: 3, HeadDim: 16, Intermediate: 41})
	}
	src := checkpoint.Random(c, 1, checkpoint.BF16)
	m, err := model.Load(dev, src)
	if err != nil {
		t.Fatal(err)
	}
	o := finetune.Defaults()
	o.Rank, o.Batch = 4, 3
	lengths := append(Same(20, 5), Length{30, 10}, Length{7, 1}) // the seventh fills no step
	r, err := Measure(context.Background(), m, src, o, lengths, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Steps != 2 || r.Examples != 6 || r.Tokens != 5*20+30 {
		t.Errorf("want 2 steps of 3 examples, 130 tokens, got %+v", r)
	}
	flops := 5*2*float64(model.Flops(c, 0, 20, 19)) + 2*float64(model.Flops(c, 0, 30, 20))
	if got := r.TFLOPS * r.Seconds * 1e12; got < 0.999*flops || got > 1.001*flops {
		t.Errorf("want %g flops, got %g", flops, got)
	}
	if got := r.TokensPerSecond * r.Seconds; got < 129.9 || got > 130.1 {
		t.Errorf("want 130 tokens, got %g", got)
	}
	if want := r.Seconds / 6 * 103520 / 3600; r.RecipeHours < 0.999*want || r.RecipeHours > 1.001*want {
		t.Errorf("want %g hours for the recipe, got %g", want, r.RecipeHours)
	}
	if _, err := Measure(context.Background(), m, src, o, Same(20, 2), nil); err == nil {
		t.Error("want an error for less than a step")
	}
}

// Alpaca's lengths are those of the rows that the file names.
func TestAlpaca(t *testing.T) {
	got, err := Alpaca()
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Open(testutil.DataPath(t, "tokenizer-llama2"))
	if err != nil {
		t.Fatal(err)
	}
	want, _, err := dataset.ReadExamples(dataset.File{Path: testutil.DataPath(t, "alpaca/alpaca_en_demo.json")}, tok, 512)
	if err != nil || len(want) != len(got) {
		t.Fatalf("want %d rows, got %d, %v", len(want), len(got), err)
	}
	for i, e := range want {
		if got[i] != (Length{len(e.Tokens), e.FirstTarget}) {
			t.Fatalf("row %d: want %d tokens, %d of the prompt, got %+v", e.Row, len(e.Tokens), e.FirstTarget, got[i])
		}
	}
}
