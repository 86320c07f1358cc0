package gguf

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

// Source is a GGUF file as a checkpoint: tensors by Hugging Face's names, in its row
// order and in one type of floats.
type Source struct {
	File   *File
	config *config.Config
	dtype  checkpoint.DType
	stored []config.LayerShape // with the padding of Export
	names  map[string]string   // Hugging Face's name to the file's
}

// NewSource finds a LLaMA in a file. dtype is the type that its tensors take; nil
// stands for that of the file's matrices: see UsualDType.
func NewSource(f *File, dtype *checkpoint.DType) (*Source, error) {
	c, err := f.readConfig()
	if err != nil {
		return nil, err
	}
	s := &Source{File: f, config: c, dtype: f.UsualDType()}
	if dtype != nil {
		s.dtype = *dtype
	}
	c.DType = s.dtype.ConfigName()
	if err := f.ends(c); err != nil {
		return nil, err
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	if s.stored, err = f.unpad(c); err != nil {
		return nil, err
	}
	return s, s.match()
}

// UsualDType is the type that the weights are imported in unless one is asked for. Files of
// F32, F16 or BF16 matrices keep it, and so every bit. Quantized matrices become F16,
// whose 11 bits come nearest to a scale of 11 bits times a few bits of quants: an
// element moves by at most 2^-12 of its value, where BF16 would move it by 2^-9, while
// the steps of the quantization are larger than both. Where types are mixed the one
// with the largest range counts, of F32, BF16, F16.
func (f *File) UsualDType() checkpoint.DType {
	seen := map[checkpoint.DType]bool{}
	for _, t := range f.Tensors {
		if len(t.Shape) > 1 { // norms are F32 in all files
			d, ok := t.Type.DType()
			if !ok {
				d = checkpoint.F16
			}
			seen[d] = true
		}
	}
	for _, d := range []checkpoint.DType{checkpoint.F32, checkpoint.BF16} {
		if seen[d] {
			return d
		}
	}
	return checkpoint.F16
}

// layerNames are llama.cpp's names of a layer's tensors.
var layerNames = map[checkpoint.Param]string{
	checkpoint.AttnNorm: "attn_norm", checkpoint.WQ: "attn_q", checkpoint.WK: "attn_k", checkpoint.WV: "attn_v", checkpoint.WO: "attn_output",
	checkpoint.MLPNorm: "ffn_norm", checkpoint.WGate: "ffn_gate", checkpoint.WUp: "ffn_up", checkpoint.WDown: "ffn_down",
}

// nameInFile is llama.cpp's name of a tensor.
func nameInFile(name string) string {
	switch name {
	case checkpoint.EmbedName:
		return "token_embd.weight"
	case checkpoint.NormName:
		return "output_norm.weight"
	case checkpoint.HeadName:
		return "output.weight"
	}
	layer, part, _ := strings.Cut(strings.TrimPrefix(name, "model.layers."), ".")
	return fmt.Sprintf("blk.%s.%s.weight", layer, layerNames[checkpoint.Param(strings.TrimSuffix(part, ".weight"))])
}

// match holds the file's tensors to those that the config asks for.
func (s *Source) match() error {
	s.names = map[string]string{}
	known := map[string]bool{"rope_freqs.weight": true}
	full := *s.config
	full.Layers = s.stored
	for _, info := range checkpoint.ExpectedTensors(&full) {
		name := nameInFile(info.Name)
		t, ok := s.File.Tensor(name)
		if !ok {
			return fmt.Errorf("%s: missing, want %v", name, info.Shape)
		}
		if !slices.Equal(t.Shape, info.Shape) {
			return fmt.Errorf("%s: want %v, got %v", name, info.Shape, t.Shape)
		}
		s.names[info.Name] = name
		known[name] = true
	}
	for l := range s.config.Layers { // a skipped block may have kept its norm
		known[nameInFile(checkpoint.LayerName(l, checkpoint.AttnNorm))] = true
		known[nameInFile(checkpoint.LayerName(l, checkpoint.MLPNorm))] = true
	}
	for _, t := range s.File.Tensors {
		if known[t.Name] || strings.HasSuffix(t.Name, ".attn_rot_embd") {
			continue
		}
		if strings.HasSuffix(t.Name, ".bias") {
			return fmt.Errorf("%s: models with biases are not supported", t.Name)
		}
		return fmt.Errorf("%s: unexpected, got %s %v", t.Name, t.Type, t.Shape)
	}
	return nil
}

// Config is the model's config.
func (s *Source) Config() *config.Config { return s.config }

// Close closes the file.
func (s *Source) Close() error { return s.File.Close() }

// Tensor converts a tensor, found by its Hugging Face name.
func (s *Source) Tensor(name string) (checkpoint.Tensor, error) {
	stored, ok := s.names[name]
	shape := s.shape(name)
	if !ok || shape == nil {
		return checkpoint.Tensor{}, fmt.Errorf("%s: no such tensor", name)
	}
	t, ok := s.File.Tensor(stored)
	if !ok {
		return checkpoint.Tensor{}, errors.New("the file is closed")
	}
	var all []byte
	err := s.convert(name, t, shape, func(p []byte) error {
		all = append(all, p...)
		return nil
	})
	return checkpoint.Tensor{Name: name, DType: s.dtype, Shape: shape, Data: all}, err
}

// shape is the shape of a tensor without padding, nil for one that is padding alone.
func (s *Source) shape(name string) []int {
	for _, info := range checkpoint.ExpectedTensors(s.config) {
		if info.Name == name {
			return info.Shape
		}
	}
	return nil
}

// Specs describes all tensors for checkpoint.Save. They are converted a few megabytes
// at a time.
func (s *Source) Specs() []checkpoint.TensorSpec {
	var specs []checkpoint.TensorSpec
	for _, info := range checkpoint.ExpectedTensors(s.config) {
		specs = append(specs, checkpoint.TensorSpec{Name: info.Name, DType: s.dtype, Shape: info.Shape, Write: func(w checkpoint.Writer) error {
			t, _ := s.File.Tensor(s.names[info.Name])
			return s.convert(info.Name, t, info.Shape, func(p []byte) error {
				_, err := w.Write(p)
				return err
			})
		}})
	}
	return specs
}
