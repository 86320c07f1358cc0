// Package llama2c reads the weight files of llama2.c (float32, versions 0 and 1) under
// Hugging Face's tensor names and layout, and converts them to checkpoints.
package llama2c

import (
	"fmt"
	"strings"

	"github.com/edsrzf/mmap-go"

	"mop/internal/files"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

// Source is an open file. Its tensors are views of the mapped file, except for the
// query and key projections, which each call of Tensor permutes into new memory.
type Source struct {
	config  *config.Config
	tensors map[string]checkpoint.Tensor // as stored
	mapped  mmap.MMap
}

// Open maps a file of either version. Its size must be exactly the one that follows
// from its header.
func Open(path string) (*Source, error) {
	m, err := files.MapPath(path, v0Header)
	if err != nil {
		return nil, err
	}
	s, err := Parse(m)
	if err != nil {
		m.Unmap()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.mapped = m
	return s, nil
}

// Parse reads the bytes of a file of either version. They must not change while the
// source is used.
func Parse(data []byte) (*Source, error) {
	h, err := parseHeader(data)
	if err != nil {
		return nil, err
	}
	s := &Source{config: h.config(), tensors: map[string]checkpoint.Tensor{}}
	if err := s.config.Check(); err != nil {
		return nil, err
	}
	shapes := map[string][]int{"": {h.positions, h.headDim()}}
	for _, info := range checkpoint.ExpectedTensors(s.config) {
		shapes[info.Name] = info.Shape
	}
	start := v0Header
	if h.v1 {
		start = v1Header
	}
	rest := data[start:]
	for _, name := range h.order() {
		n := 4 // bytes; the sum of all is known to be the file's size
		for _, d := range shapes[name] {
			n *= d
		}
		s.tensors[name] = checkpoint.Tensor{Name: name, DType: checkpoint.F32, Shape: shapes[name], Data: rest[:n:n]}
		rest = rest[n:]
	}
	delete(s.tensors, "")
	return s, nil
}

// Config is the model's config.
func (s *Source) Config() *config.Config { return s.config }

// Tensor finds a tensor by its Hugging Face name.
func (s *Source) Tensor(name string) (checkpoint.Tensor, error) {
	t, ok := s.tensors[name]
	if !ok {
		return t, fmt.Errorf("%s: no such tensor", name)
	}
	if strings.Contains(name, string(checkpoint.WQ)) || strings.Contains(name, string(checkpoint.WK)) {
		t.Data = unpermute(t, s.config.HeadDim)
	}
	return t, nil
}

// Close unmaps the file. No tensor may be used afterwards.
func (s *Source) Close() error {
	s.tensors = nil
	if s.mapped == nil {
		return nil
	}
	return s.mapped.Unmap()
}

// unpermute reorders the rows of each head, of head size dh: llama2.c's RoPE rotates
// the pairs (2i, 2i+1), transformers' the pairs (i, i+dh/2).
func unpermute(t checkpoint.Tensor, dh int) []byte {
	row := 4 * t.Shape[1] // bytes
	out := make([]byte, len(t.Data))
	for r := range t.Shape[0] {
		head, i := r/dh, r%dh
		from := head*dh + 2*(i%(dh/2)) + i/(dh/2)
		copy(out[r*row:(r+1)*row], t.Data[from*row:])
	}
	return out
}

// Import converts a weight file to a checkpoint, tensor by tensor. The options provide
// the tokenizer; for hfType see config.SetHFType. Weights that are not finite are an
// error.
func Import(weights, out, hfType string, o checkpoint.SaveOptions) error {
	s, err := Open(weights)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := checkpoint.CheckFinite(s); err != nil {
		return fmt.Errorf("%s: %w", weights, err)
	}
	var specs []checkpoint.TensorSpec
	for _, info := range checkpoint.ExpectedTensors(s.config) {
		specs = append(specs, checkpoint.TensorSpec{Name: info.Name, DType: checkpoint.F32, Shape: info.Shape, Write: func(w checkpoint.Writer) error {
			t, err := s.Tensor(info.Name)
			if err != nil {
				return err
			}
			_, err = w.Write(t.Data)
			return err
		}})
	}
	s.config.SetHFType(hfType)
	s.config.LogHFType(out)
	return checkpoint.Save(out, s.config, specs, o)
}
