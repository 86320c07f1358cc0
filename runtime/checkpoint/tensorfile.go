package checkpoint

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/edsrzf/mmap-go"

	"mop/runtime/checkpoint/safetensors"
)

// TensorFile is an open safetensors file that does not hold a model: adapters, the
// state of a training run. Its tensors are views of the mapped, read-only file and
// are valid until Close.
type TensorFile struct {
	path    string
	tensors map[string]Tensor
	mapped  mmap.MMap
}

// OpenTensorFile maps a safetensors file whose tensors are F32, F16 or BF16.
func OpenTensorFile(path string) (*TensorFile, error) {
	m, all, err := safetensors.Map(path)
	if err != nil {
		return nil, err
	}
	f := &TensorFile{path, make(map[string]Tensor, len(all)), m}
	for _, t := range all {
		dtype, ok := dtypeNamed(t.DType)
		if !ok {
			f.Close()
			return nil, fmt.Errorf("%s: %s: want F32, F16 or BF16, got %s", path, safetensors.Printable(t.Name), t.DType)
		}
		f.tensors[t.Name] = Tensor{t.Name, dtype, t.Shape, t.Data}
	}
	return f, nil
}

// Names lists the tensors, sorted.
func (f *TensorFile) Names() []string { return slices.Sorted(maps.Keys(f.tensors)) }

// Header finds a tensor by its name, whatever its shape.
func (f *TensorFile) Header(name string) Tensor { return f.tensors[name] }

// Tensor finds a tensor of the wanted shape.
func (f *TensorFile) Tensor(name string, shape ...int) (Tensor, error) {
	t, ok := f.tensors[name]
	if !ok {
		return t, fmt.Errorf("%s: %s: missing, want %v", f.path, safetensors.Printable(name), shape)
	}
	if !slices.Equal(t.Shape, shape) {
		return t, fmt.Errorf("%s: %s: want %v, got %v", f.path, safetensors.Printable(name), shape, t.Shape)
	}
	return t, nil
}

// Close unmaps the file.
func (f *TensorFile) Close() error {
	f.tensors = nil
	return f.mapped.Unmap()
}

// WriteTensorFile writes tensors as a safetensors file, one after the other.
func WriteTensorFile(w io.Writer, tensors []TensorSpec) error {
	return safetensors.NewShard("", stored(tensors)).Write(w)
}
