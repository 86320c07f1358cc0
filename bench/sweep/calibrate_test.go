package sweep

import (
	"math"
	"slices"
	"testing"

	"mop/runtime/config"
	"mop/runtime/predict"
)

const trueOther, trueScale, trueWait = 2.5, 0.8, 0.03 // true = scale*recorded - wait

func trueTime(op Operation, size int) float64 { return float64(op+1) * (0.2 + 0.01*float64(size)) }

// recordedPass is a pass of a small model with the recorded times of all blocks.
func recordedPass(c *config.Config) predict.Pass {
	record := func(op Operation, size int) predict.Time {
		v := (trueTime(op, size) + trueWait) / trueScale
		return predict.Time{MS: v, Lo: v, Hi: v, N: 1}
	}
	p := predict.Pass{Phase: "decode", Batch: 1, Tokens: 12, Other: predict.Time{MS: 9, Lo: 9, Hi: 9, N: 1}}
	for _, s := range headShapes(widest(c), 8) {
		p.Attention = append(p.Attention, predict.Attention{Heads: s.Heads, KVHeads: s.KVHeads, QKV: record(QKV, s.Heads), Attend: record(Attend, s.Heads), Output: record(Output, s.Heads)})
	}
	for _, w := range fineWidths(32) {
		p.MLP = append(p.MLP, predict.MLP{Intermediate: w, GateUp: record(GateUp, w), Down: record(Down, w)})
	}
	return p
}

// trueWhole is a whole model with its true time.
func trueWhole(x task) predict.Whole {
	layer := 0.0
	for op := range Operations {
		size := x.shape.Heads
		if op >= GateUp {
			size = x.shape.Intermediate
		}
		layer += trueTime(op, size)
	}
	return predict.Whole{What: x.what, Shape: x.shape, Layers: x.layers, Phase: "decode", Batch: 1, Tokens: 12,
		Time: predict.Time{MS: trueOther + float64(x.layers)*layer}}
}

func wantTrueTimes(t *testing.T, p *predict.Pass) {
	t.Helper()
	last := len(p.MLP) - 1
	for _, v := range [][2]float64{{p.Other.MS, trueOther}, {p.MLP[last].Down.MS, trueTime(Down, p.MLP[last].Intermediate)},
		{p.MLP[0].GateUp.Hi, trueTime(GateUp, p.MLP[0].Intermediate)}, {p.Attention[0].QKV.MS, trueTime(QKV, p.Attention[0].Heads)}} {
		if math.Abs(v[0]-v[1]) > 1e-6 {
			t.Errorf("want %g, got %g in %+v", v[1], v[0], p)
		}
	}
}

// Recorded times that are scaled and have a wait added become the true ones again.
func TestCalibrateFindsScaleAndWait(t *testing.T) {
	c := tiny()
	c.Layers[0].Intermediate = 32
	p := recordedPass(c)
	var whole []predict.Whole
	for _, x := range calibrationTasks(c, setting{1, 12, outTokens}, 6) {
		whole = append(whole, trueWhole(x))
	}
	if !calibrate(&p, whole) {
		t.Fatal("want a fit")
	}
	wantTrueTimes(t, &p)
	if calibrate(&p, whole[:2]) {
		t.Error("two models do not determine three unknowns")
	}
}

// Decode passes are fitted to the whole models of a sweep, those of other contexts by the same
// factors. Prefill passes, and tables with few whole models, stay as they were recorded.
func TestCalibrateDecode(t *testing.T) {
	c := tiny()
	c.Layers[0].Intermediate = 32
	var whole []predict.Whole
	for _, x := range tasks(c, []string{"mlp", "layers"}, 6, false) {
		if x.whole() {
			whole = append(whole, trueWhole(x))
		}
	}
	base, longer, prefill := recordedPass(c), recordedPass(c), recordedPass(c)
	longer.Tokens, longer.Other.MS, prefill.Phase = 100, 18, "prefill"
	passes := []predict.Pass{base, longer, prefill}
	calibrateDecode(passes, whole)
	wantTrueTimes(t, &passes[0])
	if math.Abs(passes[1].Other.MS-2*trueOther) > 1e-6 {
		t.Errorf("want other %g, got %+v", 2*trueOther, passes[1])
	}
	passes[1].Other.MS = trueOther
	wantTrueTimes(t, &passes[1])
	if want := recordedPass(c); passes[2].Other != want.Other || passes[2].MLP[0] != want.MLP[0] {
		t.Errorf("want prefill as recorded, got %+v", passes[2])
	}
	// Models of one shape do not tell the wait from the scale.
	var layers []predict.Whole
	for _, w := range whole {
		if w.Shape == widest(c) {
			layers = append(layers, w, w)
		}
	}
	deep := []predict.Pass{recordedPass(c)}
	calibrateDecode(deep, layers)
	if math.Abs(deep[0].Other.MS-trueOther) > 1e-6 || len(layers) < minWhole {
		t.Errorf("%d models of one shape: want other %g, got %+v", len(layers), trueOther, deep[0].Other)
	}
	// Whole models that take far longer than their blocks are not fitted to.
	slow := slices.Clone(whole)
	for i := range slow {
		slow[i].Time.MS *= 3
	}
	doubtful := []predict.Pass{recordedPass(c)}
	calibrateDecode(doubtful, slow)
	if doubtful[0].Other.MS != 9 {
		t.Errorf("want times as recorded beside models that take three times as long, got %+v", doubtful[0])
	}
	few := []predict.Pass{recordedPass(c)}
	calibrateDecode(few, whole[:minWhole-1])
	if few[0].Other.MS != 9 {
		t.Errorf("want times as recorded with %d models, got %+v", minWhole-1, few[0])
	}
	// Models of one number of layers do not tell the wait from the rest.
	alike := []predict.Pass{recordedPass(c)}
	var same []predict.Whole
	for _, w := range whole {
		if w.Layers == 6 {
			same = append(same, w)
		}
	}
	calibrateDecode(alike, same)
	if want := trueOther - 6*layerOps*trueWait; math.Abs(alike[0].Other.MS-want) > 1e-6 {
		t.Errorf("want other %g, got %+v", want, alike[0].Other)
	}
}
