package gguf

import (
	"fmt"
	"slices"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

// unpad takes back what Export added to the layers: the widths before are in the file. A
// layer keeps its padding if the weights there are not zero any more, because then it is
// a part of the model. It returns the shapes as they are stored.
func (f *File) unpad(c *config.Config) (stored []config.LayerShape, err error) {
	stored = slices.Clone(c.Layers)
	widths, err := f.before(ownWidths, stored, func(s config.LayerShape) int { return s.Intermediate })
	if err != nil {
		return nil, err
	}
	heads, err := f.before(ownHeads, stored, func(s config.LayerShape) int { return s.Heads })
	if err != nil {
		return nil, err
	}
	for l := range c.Layers {
		s := &c.Layers[l]
		if widths != nil && f.zeroFrom(l, checkpoint.WUp, int(widths[l])) {
			s.Intermediate = int(widths[l])
		}
		if heads != nil && heads[l] == 0 && f.zeroFrom(l, checkpoint.WV, 0) {
			s.Heads, s.KVHeads = 0, 0
		}
	}
	return stored, nil
}

// before reads an array of sizes of which none is larger than the stored one.
func (f *File) before(key string, stored []config.LayerShape, of func(config.LayerShape) int) ([]int64, error) {
	list, err := f.Metadata.Ints(key)
	if err != nil || list == nil {
		return nil, err
	}
	if len(list) != len(stored) {
		return nil, fmt.Errorf("%s: want %d entries, one for each layer, got %d", key, len(stored), len(list))
	}
	for l, n := range list {
		if n < 0 || n > int64(of(stored[l])) {
			return nil, fmt.Errorf("%s: layer %d: want 0 to %d, got %d", key, l, of(stored[l]), n)
		}
	}
	return list, nil
}

// zeroFrom reports whether the rows of a layer's matrix from one on are zero. A row of
// W_up or W_v that is zero adds nothing to the layer's output.
func (f *File) zeroFrom(layer int, p checkpoint.Param, row int) bool {
	t, ok := f.Tensor(nameInFile(checkpoint.LayerName(layer, p)))
	if !ok || len(t.Shape) != 2 || row > t.Shape[0] {
		return false
	}
	values := make([]float32, t.Shape[1])
	for size := t.RowBytes(); row < t.Shape[0]; row++ {
		if Dequantize(values, t.Data[row*size:(row+1)*size], t.Type) != nil || slices.ContainsFunc(values, func(x float32) bool { return x != 0 }) {
			return false
		}
	}
	return true
}
