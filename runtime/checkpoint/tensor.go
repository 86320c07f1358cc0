// Package checkpoint reads and writes Hugging Face model directories:
// config.json, one or many safetensors shards, tokenizer files carried along.
// Reading maps the files and copies nothing; writing streams tensor by tensor
// into a temporary directory that is renamed into place when it is complete.
package checkpoint

import (
	"fmt"

	"mop/runtime/config"
)

// DType is the element type of a stored tensor.
type DType uint8

const (
	F32 DType = iota
	F16
	BF16
)

// Size is the element's size in bytes.
func (d DType) Size() int {
	if d == F32 {
		return 4
	}
	return 2
}

// String is the safetensors name: "F32", "F16", "BF16".
func (d DType) String() string { return [...]string{"F32", "F16", "BF16"}[d] }

// ConfigName is the type's name in config.json: "float32", "float16", "bfloat16".
func (d DType) ConfigName() string { return [...]string{"float32", "float16", "bfloat16"}[d] }

// DTypeOf is the type that a config writes its weights in.
func DTypeOf(c *config.Config) (DType, error) {
	for _, d := range []DType{F32, F16, BF16} {
		if d.ConfigName() == c.DType {
			return d, nil
		}
	}
	return 0, fmt.Errorf("dtype: want float32, float16 or bfloat16, got %q", c.DType)
}

// dtypeNamed finds a type by its safetensors name.
func dtypeNamed(name string) (DType, bool) {
	for _, d := range []DType{F32, F16, BF16} {
		if d.String() == name {
			return d, true
		}
	}
	return 0, false
}

// Tensor is a stored array: row-major, little-endian, not to be written to.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Data  []byte // len = product(Shape) * DType.Size()
}

// Source is anything that a model's weights can be taken from: a mapped
// directory, or a generator of random weights.
type Source interface {
	Config() *config.Config
	Tensor(name string) (Tensor, error)
	Close() error
}

// TensorSpec describes a tensor that is to be written: Write produces exactly its
// bytes, little-endian and row-major, when its turn comes.
type TensorSpec struct {
	Name  string
	DType DType
	Shape []int
	Write func(w Writer) error

	other *stored // of a type that no model of ours computes with; nil = DType's
}

// Writer receives a tensor's bytes in order.
type Writer interface{ Write(p []byte) (int, error) }
