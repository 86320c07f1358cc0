package finetune

import (
	"fmt"
	"math"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/train"
)

// merged lists the trained model's tensors, each in the type that it had: what was
// not trained is copied, W + s B A is formed in float32 and rounded once.
func merged(src checkpoint.Source, dev device.Device, l *train.Trainer) ([]checkpoint.TensorSpec, error) {
	own := map[string]*train.Param{}
	for _, p := range l.Params {
		own[p.Name] = p
	}
	type place struct {
		layer int
		part  checkpoint.Param
	}
	adapted := map[string]place{}
	for i := range src.Config().Layers {
		for _, p := range checkpoint.Projections() {
			adapted[checkpoint.LayerName(i, p)] = place{i, p}
		}
	}
	var out []checkpoint.TensorSpec
	for _, info := range checkpoint.ExpectedTensors(src.Config()) {
		t, err := src.Tensor(info.Name)
		if err != nil {
			return nil, err
		}
		s := checkpoint.Copy(t)
		if p := own[info.Name]; p != nil {
			s.Write = func(w checkpoint.Writer) error {
				x := make([]float32, p.Value.Rows()*p.Value.Cols())
				dev.Read(x, p.Value, 0, p.Value.Rows())
				if err := dev.Sync(); err != nil {
					return err
				}
				return writeTrained(w, t, x)
			}
		} else if at, ok := adapted[info.Name]; ok && l.HasAdapter(at.layer, at.part) {
			s.Write = func(w checkpoint.Writer) error {
				delta, err := l.Delta(at.layer, at.part)
				if err != nil {
					return err
				}
				x := checkpoint.Float32s(t)
				for i := range x {
					x[i] += delta[i]
				}
				return writeTrained(w, t, x)
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// writeTrained writes x as the tensor t was stored. The last step has no loss
// after it that would show what it did, so that numbers are looked at here.
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
