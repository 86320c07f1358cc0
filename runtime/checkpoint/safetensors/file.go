// Package safetensors reads and writes safetensors files and the index of a
// checkpoint that is spread over several of them. It knows tensors by name, type
// and shape; what they mean is the affair of package checkpoint.
package safetensors

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/edsrzf/mmap-go"
	"github.com/nlpodyssey/safetensors"

	"mop/internal/files"
)

// Tensor is a tensor as a file holds it, of any type that the format has.
type Tensor struct {
	File  string // path of the file
	Name  string
	DType string // "F32", "BF16", "I8", ...
	Shape []int
	Data  []byte // row-major, little-endian; not to be written to
}

// Map maps a safetensors file and lists its tensors, sorted by name. Their data
// are views of the mapping, which the caller has to unmap.
func Map(path string) (mmap.MMap, []Tensor, error) {
	m, err := files.MapPath(path, 8)
	if err != nil {
		return nil, nil, err
	}
	tensors, err := Parse(m)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), m.Unmap())
	}
	for i := range tensors {
		tensors[i].File = path
	}
	return m, tensors, nil
}

// Parse lists the tensors of a safetensors file's bytes, sorted by name. Their
// data are views of those bytes.
func Parse(file []byte) ([]Tensor, error) {
	if err := checkHeader(file); err != nil {
		return nil, err
	}
	st, err := safetensors.Deserialize(file)
	if err != nil {
		return nil, err
	}
	var out []Tensor
	for _, t := range st.Tensors() {
		v := t.TensorView
		shape := make([]int, len(v.Shape()))
		for i, s := range v.Shape() {
			if shape[i] = int(s); shape[i] < 0 || uint64(shape[i]) != s {
				return nil, fmt.Errorf("%s: shape %v overflows", t.Name, v.Shape())
			}
		}
		out = append(out, Tensor{Name: t.Name, DType: v.DType().String(), Shape: shape, Data: v.Data()})
	}
	slices.SortFunc(out, func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Elements is the number of elements of a shape whose product is known to fit.
func Elements(shape []int) int {
	n := 1
	for _, s := range shape {
		n *= s
	}
	return n
}
