// Package checkpoint reads and writes checkpoints in Hugging Face's layout:
// config.json, one or several safetensors shards, and the tokenizer's files.
// Reading maps the shards and copies nothing. Writing streams tensor by tensor
// into a temporary directory that is renamed to its place when it is complete.
package checkpoint

import (
	"io"

	"mop/runtime/checkpoint/safetensors"
	"mop/runtime/config"
)

// Tensor is a stored tensor: row-major, little-endian, not to be written to.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Data  []byte // len = product(Shape) * DType.Size()
}

// Source provides a model's weights: a mapped checkpoint, or a generator of random
// weights.
type Source interface {
	Config() *config.Config
	Tensor(name string) (Tensor, error)
	Close() error
}

// TensorSpec describes a tensor that is to be written. Write is called once and
// must write exactly the tensor's bytes, little-endian and row-major.
type TensorSpec struct {
	Name  string
	DType DType
	Shape []int
	Write func(w Writer) error

	otherDType string // a type that mop does not compute with; "" = DType
}

// Writer receives a tensor's bytes in order.
type Writer = io.Writer

// Copy is the spec of a tensor that is stored unchanged.
func Copy(t Tensor) TensorSpec {
	return TensorSpec{Name: t.Name, DType: t.DType, Shape: t.Shape, Write: func(w Writer) error { _, err := w.Write(t.Data); return err }}
}

// stored turns specs into those of the file format.
func stored(tensors []TensorSpec) []safetensors.Spec {
	out := make([]safetensors.Spec, len(tensors))
	for i, t := range tensors {
		dtype := t.DType.String()
		if t.otherDType != "" {
			dtype = t.otherDType
		}
		out[i] = safetensors.Spec{Name: t.Name, DType: dtype, Shape: t.Shape, Write: t.Write}
	}
	return out
}
