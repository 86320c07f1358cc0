package sweep

import (
	"fmt"

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
	correct := func(t *predict.Time) {
		for _, v := range []*float64{&t.MS, &t.Lo, &t.Hi} {
			*v = max(*v*scale-wait, *v*scale/100) // above 0
		}
	}
	for i := range p.Attention {
		a := &p.Attention[i]
		correct(&a.QKV)
		correct(&a.Attend)
		correct(&a.Output)
	}
	for i := range p.MLP {
		correct(&p.MLP[i].GateUp)
		correct(&p.MLP[i].Down)
	}
	p.Other = predict.Time{MS: other, Lo: other, Hi: other, N: len(times)}
	return true
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
