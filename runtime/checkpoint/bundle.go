package checkpoint

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/edsrzf/mmap-go"
)

// TensorFile is an open safetensors file that is no model: adapters, the state of a
// training. Its tensors are views of the mapped, read-only file and end with
// Close.
type TensorFile struct {
	path    string
	tensors map[string]Tensor
	mapped  mmap.MMap
}

// OpenTensorFile maps a safetensors file whose tensors are F32, F16 or BF16.
func OpenTensorFile(path string) (*TensorFile, error) {
	m, all, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	b := &TensorFile{path, make(map[string]Tensor, len(all)), m}
	for _, t := range all {
		dtype, ok := dtypeNamed(t.dtype)
		if !ok {
			b.Close()
			return nil, fmt.Errorf("%s: %s: want F32, F16 or BF16, got %s", path, show(t.name), t.dtype)
		}
		b.tensors[t.name] = Tensor{t.name, dtype, t.shape, t.data}
	}
	return b, nil
}

// Names lists the tensors, sorted.
func (b *TensorFile) Names() []string { return slices.Sorted(maps.Keys(b.tensors)) }

// Header is a tensor by its name in Names, whatever its shape.
func (b *TensorFile) Header(name string) Tensor { return b.tensors[name] }

// Tensor finds a tensor of the wanted shape.
func (b *TensorFile) Tensor(name string, shape ...int) (Tensor, error) {
	t, ok := b.tensors[name]
	if !ok {
		return t, fmt.Errorf("%s: %s: missing, want %v", b.path, show(name), shape)
	}
	if !slices.Equal(t.Shape, shape) {
		return t, fmt.Errorf("%s: %s: want %v, got %v", b.path, show(name), shape, t.Shape)
	}
	return t, nil
}

// Close unmaps the file.
func (b *TensorFile) Close() error {
	b.tensors = nil
	return b.mapped.Unmap()
}

// WriteTensorFile writes tensors as a safetensors file, one after the other.
func WriteTensorFile(w io.Writer, tensors []TensorSpec) error {
	s := shard{name: singleFile, tensors: slices.Clone(tensors)}
	slices.SortStableFunc(s.tensors, func(a, b TensorSpec) int { return b.DType.Size() - a.DType.Size() })
	s.header = headerText(s.tensors)
	return s.write(w)
}
