// Package gguf reads model files of llama.cpp (GGUF, versions 2 and 3) as checkpoints
// with Hugging Face's names and layout: metadata, tensors of the usual types, the
// config and the tokenizer. The format is described in
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
//
// A file is trusted in nothing: counts, lengths and offsets are checked against the
// bytes that are there, and no allocation is made from a number that the file claims.
package gguf

import (
	"fmt"

	"github.com/edsrzf/mmap-go"

	"mop/internal/files"
)

const (
	magic          = "GGUF"
	headerBytes    = 24 // magic, version, tensor count, metadata count
	maxKeyBytes    = 1 << 16
	maxTensorName  = 64 // GGML_MAX_NAME
	maxDims        = 4  // GGML_MAX_DIMS
	maxTensors     = 1 << 20
	maxMetadata    = 1 << 20
	usualAlignment = 32
	alignmentKey   = "general.alignment"
)

// TensorInfo describes a stored tensor. Its data are a view of the file.
type TensorInfo struct {
	Name  string
	Type  Type
	Shape []int // row-major [out, in]: the reverse of the order in the file
	Data  []byte
}

// RowBytes is the size of one row, the elements of the last dimension.
func (t TensorInfo) RowBytes() int {
	return t.Shape[len(t.Shape)-1] / t.Type.BlockSize() * t.Type.BlockBytes()
}

// File is an open GGUF file.
type File struct {
	Version  int
	Metadata Metadata
	Tensors  []TensorInfo // in the order of the file

	byName map[string]int // index into Tensors
	mapped mmap.MMap
}

// Open maps a file and reads its header. The data of the tensors are not touched.
func Open(path string) (*File, error) {
	m, err := files.MapPath(path, headerBytes)
	if err != nil {
		return nil, err
	}
	f, err := Parse(m)
	if err != nil {
		m.Unmap()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.mapped = m
	return f, nil
}

// Tensor finds a tensor by its name in the file.
func (f *File) Tensor(name string) (TensorInfo, bool) {
	i, ok := f.byName[name]
	if !ok {
		return TensorInfo{}, false
	}
	return f.Tensors[i], true
}

// Close ends the life of the metadata and of the tensors.
func (f *File) Close() error {
	if f.mapped == nil {
		return nil
	}
	m := f.mapped
	*f = File{}
	return m.Unmap()
}
