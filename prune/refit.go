package prune

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"

	"mop/prune/refit"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/model"
)

// refitFile says, beside plan.json, how each matrix of a model was refitted.
const refitFile = "refit.json"

const (
	// refitBytes bounds the second moments in memory: the dense model runs over the text
	// once for each group of layers that fits.
	refitBytes = 3 << 30
	// refitTokens is how many tokens of text a column should have. With fewer the refit
	// follows noise, and large dampings or none are chosen.
	refitTokens = 16
)

// refitReport is refit.json.
type refitReport struct {
	Tokens   int             `json:"tokens"`   // of calibration text, with those held out
	HeldOut  int             `json:"held_out"` // of them, for the choice of the damping
	Matrices []refitDecision `json:"matrices"`
}

// refitDecision is what was chosen for one matrix. The errors are shares of the mean square
// of the dense output on the text that was held out.
type refitDecision struct {
	Layer   int      `json:"layer"`
	Matrix  string   `json:"matrix"`
	Kept    int      `json:"kept"`    // columns
	Damping *float64 `json:"damping"` // null = not refitted, since no damping made the error smaller
	Before  float64  `json:"error_before"`
	After   float64  `json:"error_after"`
}

// refitted are the new matrices of one target's model.
type refitted struct {
	weights map[string][]float32 // by tensor name
	report  refitReport
}

// matrixToRefit is a matrix of a target's model from which columns were removed.
type matrixToRefit struct {
	target, layer, from int // from: the base's layer
	which               refit.Matrix
	param               checkpoint.Param
	keep                []int // columns
}

// refitTargets refits the matrices of all targets' models. The result has one element per
// model.
func (r *run) refitTargets(ctx context.Context, models []targetModel) ([]refitted, error) {
	out := make([]refitted, len(models))
	if !r.Refit {
		return out, nil
	}
	c := r.base.Config()
	var list []matrixToRefit
	most := 0
	for t, m := range models {
		out[t].weights = map[string][]float32{}
		for l, y := range m.state.Layers {
			heads := make([]int, 0, len(y.Heads)*c.HeadDim)
			for _, h := range y.Heads {
				for j := range c.HeadDim {
					heads = append(heads, h*c.HeadDim+j)
				}
			}
			dense := c.Layers[y.From]
			for _, x := range []matrixToRefit{{t, l, y.From, refit.Output, checkpoint.WO, heads}, {t, l, y.From, refit.Down, checkpoint.WDown, y.Neurons}} {
				if n := refitColumns(dense, x.which); len(x.keep) > 0 && len(x.keep) < n {
					list = append(list, x)
					most = max(most, n)
				}
			}
		}
	}
	tokens := 0
	for _, p := range r.inputs.prompts {
		tokens += len(p)
	}
	if len(list) > 0 && tokens < refitTokens*most {
		slog.Warn("refit: little calibration text: most matrices may stay as they are", "tokens", tokens, "columns", most, "want_tokens", refitTokens*most)
	}
	dense, err := model.Load(r.Device, r.base)
	if err != nil {
		return nil, err
	}
	defer dense.Close()
	for from := range refitGroups(c, list) {
		if err := r.refitGroup(ctx, dense, from, list, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// refitColumns is the number of columns of a dense layer's matrix.
func refitColumns(y config.LayerShape, which refit.Matrix) int {
	if which == refit.Output {
		return y.Heads * y.HeadDim
	}
	return y.Intermediate
}

// refitGroups divides the base's layers that have matrices to refit into groups whose
// moments fit into memory.
func refitGroups(c *config.Config, list []matrixToRefit) func(yield func(refit.Wanted) bool) {
	return func(yield func(refit.Wanted) bool) {
		group, bytes := refit.Wanted{}, int64(0)
		for l, y := range c.Layers {
			wanted := map[refit.Matrix]bool{}
			need := int64(0)
			for _, x := range list {
				if x.from == l && !wanted[x.which] {
					wanted[x.which] = true
					need += refit.Bytes(refitColumns(y, x.which))
				}
			}
			if need == 0 {
				continue
			}
			if bytes > 0 && bytes+need > refitBytes {
				if !yield(group) {
					return
				}
				group, bytes = refit.Wanted{}, 0
			}
			group[l] = wanted
			bytes += need
		}
		if bytes > 0 {
			yield(group)
		}
	}
}

// refitGroup measures the moments of some of the base's layers, and refits the matrices of
// all models that come from them.
func (r *run) refitGroup(ctx context.Context, dense *model.Model, group refit.Wanted, list []matrixToRefit, out []refitted) error {
	moments, err := refit.Measure(ctx, dense, r.inputs.prompts, group, r.Progress.Counter(0, "second moments", len(r.inputs.prompts)))
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(slices.Clone(list), func(x matrixToRefit) bool { return !group[x.from][x.which] })
	tick := r.Progress.Counter(0, "refit", len(list))
	for _, x := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		t, err := r.base.Tensor(checkpoint.LayerName(x.from, x.param))
		if err != nil {
			return err
		}
		m := moments[x.from][x.which]
		w, fit, err := refit.Solve(checkpoint.Float32s(t), t.Shape[0], x.keep, m)
		if err != nil {
			return fmt.Errorf("layer %d: %s: %w", x.layer, x.which, err)
		}
		o := &out[x.target]
		d := refitDecision{Layer: x.layer, Matrix: x.which.String(), Kept: len(x.keep), Before: fit.Before, After: fit.After}
		if !math.IsInf(fit.Damping, 1) {
			d.Damping = &fit.Damping
			o.weights[checkpoint.LayerName(x.layer, x.param)] = w
		}
		o.report.Tokens, o.report.HeldOut = m.FitTokens+m.HeldTokens, m.HeldTokens
		o.report.Matrices = append(o.report.Matrices, d)
		tick()
	}
	return nil
}

// apply replaces the refitted matrices in the specs of a model, rounded to their stored
// types. It returns the files to write beside the plan.
func (f *refitted) apply(specs []checkpoint.TensorSpec) (map[string][]byte, error) {
	if f.weights == nil {
		return nil, nil
	}
	for i, s := range specs {
		w, ok := f.weights[s.Name]
		if !ok {
			continue
		}
		if len(s.Shape) != 2 || len(w) != s.Shape[0]*s.Shape[1] {
			return nil, fmt.Errorf("%s: refit: want %v, got %d numbers", s.Name, s.Shape, len(w))
		}
		data := make([]byte, len(w)*s.DType.Size())
		for j, x := range w {
			checkpoint.Encode(data[j*s.DType.Size():], s.DType, x)
		}
		specs[i] = checkpoint.Copy(checkpoint.Tensor{Name: s.Name, DType: s.DType, Shape: s.Shape, Data: data})
	}
	if len(f.report.Matrices) == 0 {
		return nil, nil // nothing was chosen for each matrix
	}
	text, err := json.MarshalIndent(f.report, "", " ")
	return map[string][]byte{refitFile: append(text, '\n')}, err
}
