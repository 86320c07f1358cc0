package sweep

import (
	"math"
	"testing"

	"mop/runtime/config"
	"mop/runtime/predict"
)

// Recorded times that are scaled and have a wait added become the true ones again.
func TestCalibrateFindsScaleAndWait(t *testing.T) {
	c := tiny()
	c.Layers[0].Intermediate = 32
	const other, scale, wait = 2.5, 0.8, 0.3 // true = scale*recorded - wait
	truth := func(op Operation, size int) float64 { return float64(op+1) * (0.2 + 0.01*float64(size)) }
	record := func(op Operation, size int) predict.Time {
		v := (truth(op, size) + wait) / scale
		return predict.Time{MS: v, Lo: v, Hi: v, N: 1}
	}
	p := predict.Pass{Phase: "decode", Batch: 1, Tokens: 12, Other: predict.Time{MS: 9}}
	for _, s := range headShapes(widest(c), 8) {
		p.Attention = append(p.Attention, predict.Attention{Heads: s.Heads, KVHeads: s.KVHeads, QKV: record(QKV, s.Heads), Attend: record(Attend, s.Heads), Output: record(Output, s.Heads)})
	}
	for _, w := range coarseWidths(32) {
		p.MLP = append(p.MLP, predict.MLP{Intermediate: w, GateUp: record(GateUp, w), Down: record(Down, w)})
	}
	layer := func(s config.LayerShape) (ms float64) {
		for op := range Operations {
			size := s.Heads
			if op >= GateUp {
				size = s.Intermediate
			}
			ms += truth(op, size)
		}
		return ms
	}
	var whole []predict.Whole
	for _, x := range calibrationTasks(c, setting{1, 12, outTokens}, 6) {
		whole = append(whole, predict.Whole{What: x.what, Shape: x.shape, Layers: x.layers, Time: predict.Time{MS: other + float64(x.layers)*layer(x.shape)}})
	}
	if !calibrate(&p, whole) {
		t.Fatal("want a fit")
	}
	if math.Abs(p.Other.MS-other) > 1e-6 || math.Abs(p.MLP[3].Down.MS-truth(Down, p.MLP[3].Intermediate)) > 1e-6 || math.Abs(p.Attention[0].QKV.MS-truth(QKV, p.Attention[0].Heads)) > 1e-6 {
		t.Errorf("want the true times, got %+v", p)
	}
	if calibrate(&p, whole[:2]) {
		t.Error("two models do not determine three unknowns")
	}
}
