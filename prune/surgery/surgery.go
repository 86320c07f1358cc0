// Package surgery slices the weights that a plan keeps out of a base checkpoint.
package surgery

import (
	"fmt"
	"slices"

	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

// Specs lists the tensors of the pruned model and returns its config. For heads it keeps
// rows of q, k and v and columns of o; for neurons, rows of gate and up and columns of
// down. Nothing is rescaled. A tensor is sliced from the mapped base only when it is
// written.
func Specs(base checkpoint.Source, layers []plan.Layer) ([]checkpoint.TensorSpec, *config.Config, error) {
	c := base.Config().Clone()
	c.Layers = make([]config.LayerShape, len(layers))
	sliced := map[string]layerTensor{}
	for i, l := range layers {
		if n := len(base.Config().Layers); l.From < 0 || l.From >= n {
			return nil, nil, fmt.Errorf("layer %d: want a base layer below %d, got %d", i, n, l.From)
		}
		c.Layers[i] = l.Shape
		for _, t := range layerTensors(l) {
			sliced[checkpoint.LayerName(i, t.param)] = t
		}
	}
	var specs []checkpoint.TensorSpec
	for _, info := range checkpoint.ExpectedTensors(c) {
		var s checkpoint.TensorSpec
		var err error
		if t, ok := sliced[info.Name]; ok {
			s, err = t.spec(base)
		} else {
			var whole checkpoint.Tensor
			whole, err = base.Tensor(info.Name)
			s = checkpoint.Copy(whole)
		}
		if err != nil {
			return nil, nil, err
		}
		s.Name = info.Name
		if !slices.Equal(s.Shape, info.Shape) {
			return nil, nil, fmt.Errorf("%s: want %v, the plan's indices give %v", info.Name, info.Shape, s.Shape)
		}
		specs = append(specs, s)
	}
	return specs, c, nil
}

// layerTensor says what is kept of one tensor of a base layer.
type layerTensor struct {
	from    int // base layer
	param   checkpoint.Param
	keep    []int // indices of heads or neurons
	size    int   // rows or columns of one index; 0 = the tensor is copied
	columns bool  // indices are of columns
}

func layerTensors(l plan.Layer) []layerTensor {
	dh := l.Shape.HeadDim
	return []layerTensor{
		{l.From, checkpoint.AttnNorm, nil, 0, false},
		{l.From, checkpoint.MLPNorm, nil, 0, false},
		{l.From, checkpoint.WQ, l.Heads, dh, false},
		{l.From, checkpoint.WK, l.KVHeads, dh, false},
		{l.From, checkpoint.WV, l.KVHeads, dh, false},
		{l.From, checkpoint.WO, l.Heads, dh, true},
		{l.From, checkpoint.WGate, l.Neurons, 1, false},
		{l.From, checkpoint.WUp, l.Neurons, 1, false},
		{l.From, checkpoint.WDown, l.Neurons, 1, true},
	}
}

func (x layerTensor) spec(base checkpoint.Source) (checkpoint.TensorSpec, error) {
	t, err := base.Tensor(checkpoint.LayerName(x.from, x.param))
	if err != nil || x.size == 0 {
		return checkpoint.Copy(t), err
	}
	limit := t.Shape[0]
	if x.columns {
		limit = t.Shape[1]
	}
	for _, k := range x.keep {
		if k < 0 || (k+1)*x.size > limit {
			return checkpoint.TensorSpec{}, fmt.Errorf("%s: want indices below %d, got %d", t.Name, limit/x.size, k)
		}
	}
	if x.columns {
		return sliceColumns(t, x.keep, x.size), nil
	}
	return sliceRows(t, x.keep, x.size), nil
}

// sliceRows keeps some blocks of size rows of a matrix.
func sliceRows(t checkpoint.Tensor, keep []int, size int) checkpoint.TensorSpec {
	cols := t.Shape[1]
	return checkpoint.TensorSpec{Name: t.Name, DType: t.DType, Shape: []int{len(keep) * size, cols}, Write: func(w checkpoint.Writer) error {
		block := size * cols * t.DType.Size()
		for _, k := range keep {
			if _, err := w.Write(t.Data[k*block : (k+1)*block]); err != nil {
				return err
			}
		}
		return nil
	}}
}

// sliceColumns keeps some blocks of size columns of a matrix.
func sliceColumns(t checkpoint.Tensor, keep []int, size int) checkpoint.TensorSpec {
	rows := t.Shape[0]
	return checkpoint.TensorSpec{Name: t.Name, DType: t.DType, Shape: []int{rows, len(keep) * size}, Write: func(w checkpoint.Writer) error {
		block, rowBytes := size*t.DType.Size(), t.Shape[1]*t.DType.Size()
		kept := make([]byte, 0, len(keep)*block)
		for r := range rows {
			kept = kept[:0]
			row := t.Data[r*rowBytes : (r+1)*rowBytes]
			for _, k := range keep {
				kept = append(kept, row[k*block:(k+1)*block]...)
			}
			if _, err := w.Write(kept); err != nil {
				return err
			}
		}
		return nil
	}}
}
