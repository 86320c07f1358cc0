package gguf

import (
	"fmt"
	"strings"

	"mop/runtime/checkpoint"
	"mop/runtime/modelcard"
)

// ImportOptions says how a file becomes a model directory.
type ImportOptions struct {
	DType        *checkpoint.DType // of all weights; nil = see File.UsualDType
	PreTokenizer string            // in place of the file's tokenizer.ggml.pre; "" = the file's
	HFType       string            // see config.SetHFType
}

// Import turns a file into a model directory, tensor by tensor. It returns the
// tokenizer.json that it wrote, nil where the file has no tokenizer.
func Import(path, out string, o ImportOptions) (tokenizer []byte, err error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := NewSource(f, o.DType)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	side, err := s.TokenizerFiles(o.PreTokenizer)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.config.SetHFType(o.HFType)
	s.config.LogHFType(out)
	return side["tokenizer.json"], checkpoint.Save(out, s.config, s.Specs(), checkpoint.SaveOptions{Data: side, Card: s.card(path)})
}

// card is the model card of an imported file.
func (s *Source) card(path string) *modelcard.Card {
	name := modelcard.Name(path)
	return &modelcard.Card{Title: strings.TrimSuffix(name, ".gguf"), Origin: fmt.Sprintf("Imported by mop from the GGUF file `%s`. Weights that were quantized there are written as\nthe floats that they stand for.", name)}
}
