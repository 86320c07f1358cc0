package sweep

import (
	"fmt"
	"log/slog"

	"gonum.org/v1/gonum/mat"

	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/predict"
)

// A device that queues operations is slower where it waits after each of them, as the
// recorder does, and decodes by graph where it is not recorded. On such a device, whole
// models are measured without the recorder in every setting, and the recorded times are
// fitted to them:
//
//	time of a pass = other + sum over operations (scale * recorded time - wait)
//
// with three unknowns for each kind of pass: other, scale and wait.

// calibration is the quantity of these whole models.
const calibration = "calibration"

// layerOps is the number of operations of a layer.
const layerOps = float64(Operations)

// calibrationTasks are whole models of five sizes, whose blocks the coarse stacks hold.
func calibrationTasks(c *config.Config, x setting, layers int) []task {
	s := widest(c)
	heads := headShapes(s, 8)
	half, quarter, fewer := s, s, s
	half.Intermediate, quarter.Intermediate = max(1, s.Intermediate*8/16), max(1, s.Intermediate*4/16)
	mid := heads[(len(heads)-1)/2]
	fewer.Heads, fewer.KVHeads = mid.Heads, mid.KVHeads
	var out []task
	for _, y := range []struct {
		shape  config.LayerShape
		layers int
	}{{s, layers}, {s, (layers + 1) / 2}, {half, layers}, {quarter, layers}, {fewer, layers}} {
		out = append(out, task{key: fmt.Sprintf("%s, whole model for calibration, %d layers of %d/%d heads, %d neurons", x, y.layers, y.shape.Heads, y.shape.KVHeads, y.shape.Intermediate),
			setting: x, what: calibration, shape: y.shape, layers: y.layers})
	}
	return out
}

// calibrate fits a pass to measured whole models and corrects its times. It changes
// nothing where the models do not determine the unknowns.
func calibrate(p *predict.Pass, whole []predict.Whole) bool {
	var rows, times []float64
	for _, w := range whole {
		layer, ok := recorded(p, w.Shape)
		if !ok || w.What != calibration {
			continue
		}
		n := float64(w.Layers)
		rows, times = append(rows, 1, n*layer, -n*layerOps), append(times, w.Time.MS)
	}
	if len(times) < 3 {
		return false
	}
	var x mat.VecDense
	if err := x.SolveVec(mat.NewDense(len(times), 3, rows), mat.NewVecDense(len(times), times)); err != nil {
		return false
	}
	other, scale, wait := max(0, x.AtVec(0)), x.AtVec(1), x.AtVec(2)
	if !(scale > 0) {
		return false
	}
	correct(p, scale, wait)
	p.Other = predict.Time{MS: other, Lo: other, Hi: other, N: len(times)}
	return true
}

// correct scales the times of a pass's operations and takes the wait off each of them.
func correct(p *predict.Pass, scale, wait float64) {
	one := func(t *predict.Time) {
		for _, v := range []*float64{&t.MS, &t.Lo, &t.Hi} {
			*v = max(*v*scale-wait, *v*scale/100) // above 0
		}
	}
	for i := range p.Attention {
		a := &p.Attention[i]
		one(&a.QKV)
		one(&a.Attend)
		one(&a.Output)
	}
	for i := range p.MLP {
		one(&p.MLP[i].GateUp)
		one(&p.MLP[i].Down)
	}
}

// On a device that does not queue operations, the recorded times of decode steps are right one
// by one, but a whole model of small blocks takes less than their sum. The probable reason is
// that the blocks were recorded in models of medium size, and that the fewer bytes a model has,
// the more of them the processor's last cache still holds from the step before. The time between
// the operations of a layer is also part of other. The same equation as above is therefore fitted to the whole models of
// the sweep, with relative errors, and holds for the decode passes of all contexts and batches.

// minWhole is the number of whole models from which on decode passes are fitted to them.
const minWhole = 8

// mostScale is the largest scale of recorded times, and its inverse the smallest: whole models
// that took twice as long as their blocks, or half as long, were disturbed.
const mostScale = 2.0

// calibrateDecode fits the decode passes to the whole models of the sweep. It changes nothing
// where these are few. Whole models that were measured on a busy machine only are left out by
// the caller.
func calibrateDecode(passes []predict.Pass, whole []predict.Whole) {
	var rows, ones []float64
	var base *predict.Pass
	layers, shapes := map[int]bool{}, map[config.LayerShape]bool{}
	for _, w := range whole {
		if w.Phase != device.Decode.String() {
			continue
		}
		for i := range passes {
			p := &passes[i]
			if p.Phase != w.Phase || p.Batch != w.Batch || p.Tokens != w.Tokens {
				continue
			}
			if layer, ok := recorded(p, w.Shape); ok && (base == nil || base == p) {
				base = p
				n := float64(w.Layers)
				layers[w.Layers], shapes[w.Shape] = true, true
				rows, ones = append(rows, 1/w.Time.MS, n*layer/w.Time.MS, -n*layerOps/w.Time.MS), append(ones, 1)
			}
		}
	}
	if len(ones) < minWhole || !(base.Other.MS > 0) {
		return
	}
	a := mat.NewDense(len(ones), 3, rows)
	unknowns := 3
	if len(layers) < 3 || len(shapes) < 3 { // the wait cannot be told from other, or from the scale
		unknowns = 2
	}
	var x mat.VecDense
	err := x.SolveVec(a.Slice(0, len(ones), 0, unknowns), mat.NewVecDense(len(ones), ones))
	if err != nil || !(x.AtVec(0) > 0) || !(x.AtVec(1) > 1/mostScale && x.AtVec(1) < mostScale) {
		slog.Warn("the recorded times of decode steps could not be fitted to those of whole models", "models", len(ones))
		return
	}
	other, scale, wait := x.AtVec(0)/base.Other.MS, x.AtVec(1), 0.0
	if unknowns == 3 {
		wait = x.AtVec(2)
	}
	for i := range passes {
		if p := &passes[i]; p.Phase == device.Decode.String() {
			correct(p, scale, wait)
			for _, v := range []*float64{&p.Other.MS, &p.Other.Lo, &p.Other.Hi} {
				*v *= other
			}
		}
	}
}

// recorded is the recorded time of a layer of a shape.
func recorded(p *predict.Pass, s config.LayerShape) (ms float64, ok bool) {
	found := 0
	for _, a := range p.Attention {
		if a.Heads == s.Heads && a.KVHeads == s.KVHeads {
			ms, found = ms+a.Total(), found+1
		}
	}
	for _, m := range p.MLP {
		if m.Intermediate == s.Intermediate {
			ms, found = ms+m.Total(), found+1
		}
	}
	return ms, found == 2
}

// queues reports whether a device's operations are not over when they return.
func queues(dev device.Device) bool { return !dev.Capabilities().HostMemory }
