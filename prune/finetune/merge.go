package finetune

import (
	"fmt"
	"math"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/train"
)

// mergedTensors lists the tensors of the fine-tuned model, each in the type that it had.
// Tensors that were not trained are copied. With an adapter, W + (Alpha/Rank) B A is
// computed in float32 and rounded once.
func mergedTensors(src checkpoint.Source, dev device.Device, t *train.Trainer) ([]checkpoint.TensorSpec, error) {
	params := map[string]*train.Param{}
	for _, p := range t.Params {
		params[p.Name] = p
	}
	var specs []checkpoint.TensorSpec
	for _, info := range checkpoint.ExpectedTensors(src.Config()) {
		stored, err := src.Tensor(info.Name)
		if err != nil {
			return nil, err
		}
		s := checkpoint.Copy(stored)
		if p := params[info.Name]; p != nil {
			s.Write = func(w checkpoint.Writer) error {
				x := make([]float32, p.Value.Rows()*p.Value.Cols())
				dev.Read(x, p.Value, 0, p.Value.Rows())
				if err := dev.Sync(); err != nil {
					return err
				}
				return writeTrained(w, stored, x)
			}
		}
		specs = append(specs, s)
	}
	index := map[string]int{}
	for i, s := range specs {
		index[s.Name] = i
	}
	for l := range src.Config().Layers {
		for _, p := range checkpoint.Projections() {
			if t.HasAdapter(l, p) {
				s := &specs[index[checkpoint.LayerName(l, p)]]
				s.Write = writeMerged(src, t, l, p)
			}
		}
	}
	return specs, nil
}

// writeMerged returns a function that writes a projection with its adapter added.
func writeMerged(src checkpoint.Source, t *train.Trainer, layer int, p checkpoint.Param) func(checkpoint.Writer) error {
	return func(w checkpoint.Writer) error {
		stored, err := src.Tensor(checkpoint.LayerName(layer, p))
		if err != nil {
			return err
		}
		delta, err := t.Delta(layer, p)
		if err != nil {
			return err
		}
		x := checkpoint.Float32s(stored)
		for i := range x {
			x[i] += delta[i]
		}
		return writeTrained(w, stored, x)
	}
}

// writeTrained writes x in the type of the stored tensor t. It refuses numbers that are
// not finite, since no loss is computed after the last step that would show them.
func writeTrained(w checkpoint.Writer, t checkpoint.Tensor, x []float32) error {
	for _, v := range x {
		if v-v != 0 || t.DType == checkpoint.F16 && math.Abs(float64(v)) > maxF16 {
			return fmt.Errorf("%v after training: not finite in its type; a lower learning rate may help", v)
		}
	}
	return writeFloats(w, t.DType, x)
}

// maxF16 is the largest float16.
const maxF16 = 65504
