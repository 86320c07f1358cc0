// Package surgery cuts a checkpoint: what flows in is a base model and the plan's
// layers, what flows out is the list of tensors that the smaller model is made
// of, each cut from the mapped base only when it is written.
package surgery

import (
	"fmt"

	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

// Specs lists the cut model's tensors: rows of q, k, v and columns of o for
// heads; rows of gate and up and columns of down for neurons; nothing is
// rescaled.
func Specs(base checkpoint.Source, layers []plan.Layer) ([]checkpoint.TensorSpec, *config.Config, error) {
	old := base.Config()
	c := old.Clone()
	c.Layers = make([]config.LayerShape, len(layers))
	for i, l := range layers {
		c.Layers[i] = l.Shape
	}
	from := map[string]func() (checkpoint.TensorSpec, error){}
	for i, l := range layers {
		if l.From < 0 || l.From >= len(old.Layers) {
			return nil, nil, fmt.Errorf("layer %d: want a base layer below %d, got %d", i, len(old.Layers), l.From)
		}
		dh := l.Shape.HeadDim
		for _, p := range []struct {
			part    checkpoint.Param
			keep    []int
			width   int // elements of an index
			columns bool
		}{
			{checkpoint.AttnNorm, nil, 0, false}, {checkpoint.MLPNorm, nil, 0, false},
			{checkpoint.WQ, l.Heads, dh, false}, {checkpoint.WK, l.KVHeads, dh, false}, {checkpoint.WV, l.KVHeads, dh, false}, {checkpoint.WO, l.Heads, dh, true},
			{checkpoint.WGate, l.Neurons, 1, false}, {checkpoint.WUp, l.Neurons, 1, false}, {checkpoint.WDown, l.Neurons, 1, true},
		} {
			from[checkpoint.LayerName(i, p.part)] = func() (checkpoint.TensorSpec, error) {
				t, err := base.Tensor(checkpoint.LayerName(l.From, p.part))
				if err != nil || p.width == 0 {
					return checkpoint.Copy(t), err
				}
				return cut(t, p.keep, p.width, p.columns)
			}
		}
	}
	var out []checkpoint.TensorSpec
	for _, info := range checkpoint.ExpectedTensors(c) {
		make := from[info.Name]
		if make == nil {
			make = func() (checkpoint.TensorSpec, error) {
				t, err := base.Tensor(info.Name)
				return checkpoint.Copy(t), err
			}
		}
		s, err := make()
		if err != nil {
			return nil, nil, err
		}
		s.Name = info.Name
		if fmt.Sprint(s.Shape) != fmt.Sprint(info.Shape) {
			return nil, nil, fmt.Errorf("%s: want %v, the plan's indices give %v", info.Name, info.Shape, s.Shape)
		}
		out = append(out, s)
	}
	return out, c, nil
}

// cut keeps the given blocks of width rows, or columns, of a matrix.
func cut(t checkpoint.Tensor, keep []int, width int, columns bool) (checkpoint.TensorSpec, error) {
	rows, cols, size := t.Shape[0], t.Shape[1], t.DType.Size()
	limit := rows
	if columns {
		limit = cols
	}
	for _, k := range keep {
		if k < 0 || (k+1)*width > limit {
			return checkpoint.TensorSpec{}, fmt.Errorf("%s: index %d of %d", t.Name, k, limit/width)
		}
	}
	s := checkpoint.TensorSpec{Name: t.Name, DType: t.DType, Shape: []int{len(keep) * width, cols}}
	if !columns {
		s.Write = func(w checkpoint.Writer) error {
			block := width * cols * size
			for _, k := range keep {
				if _, err := w.Write(t.Data[k*block : (k+1)*block]); err != nil {
					return err
				}
			}
			return nil
		}
		return s, nil
	}
	s.Shape = []int{rows, len(keep) * width}
	s.Write = func(w checkpoint.Writer) error {
		line := make([]byte, 0, len(keep)*width*size)
		for r := range rows {
			line = line[:0]
			row := t.Data[r*cols*size : (r+1)*cols*size]
			for _, k := range keep {
				line = append(line, row[k*width*size:(k+1)*width*size]...)
			}
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
		return nil
	}
	return s, nil
}
