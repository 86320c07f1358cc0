package checkpoint

import (
	"strings"

	"mop/runtime/checkpoint/safetensors"
)

// MultimodalWrapper is the part of a multimodal checkpoint that does not belong to
// its language model: the vision tower and the projector of a LLaVA. With it, Save
// writes a whole LLaVA again, each tensor under the name and in the type that it
// had.
type MultimodalWrapper struct {
	tensors []safetensors.Tensor // views of mapped files
	embed   string               // the stored name of the embedding table, which shows how names are spelled
}

// MultimodalWrapperOf is the wrapper of a source's language model, nil where the
// model stands alone. Its tensors are valid until the source is closed.
func MultimodalWrapperOf(src Source) *MultimodalWrapper {
	if d, ok := src.(*Dir); ok {
		return d.wrapper
	}
	return nil
}

// Tensors lists the wrapper's tensors under their stored names. Those of a type that mop
// does not compute with are left out.
func (m *MultimodalWrapper) Tensors() []Tensor {
	var out []Tensor
	for _, t := range m.tensors {
		if dtype, ok := dtypeNamed(t.DType); ok {
			out = append(out, Tensor{t.Name, dtype, t.Shape, t.Data})
		}
	}
	return out
}

// StoredName is the inverse of Canonical: the name that a tensor of the language model has
// in the checkpoint. Without a wrapper it is the name itself.
func (m *MultimodalWrapper) StoredName(name string) string {
	if m == nil {
		return name
	}
	rest, inner := strings.CutPrefix(name, "model.")
	switch {
	case strings.HasPrefix(m.embed, "model.language_model.") && inner:
		return "model.language_model." + rest
	case strings.HasPrefix(m.embed, "language_model."):
		return "language_model." + name
	}
	return name
}

// join lists the language model's tensors under their stored names, and the
// wrapper's after them.
func (m *MultimodalWrapper) join(tensors []TensorSpec) []TensorSpec {
	out := make([]TensorSpec, 0, len(tensors)+len(m.tensors))
	for _, s := range tensors {
		s.Name = m.StoredName(s.Name)
		out = append(out, s)
	}
	for _, t := range m.tensors {
		out = append(out, TensorSpec{Name: t.Name, Shape: t.Shape, otherDType: t.DType, Write: func(w Writer) error {
			_, err := w.Write(t.Data)
			return err
		}})
	}
	return out
}
