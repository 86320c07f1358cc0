package checkpoint

import "strings"

// MultimodalWrapper is the rest of a model that a language model is a part of: a LLaVA's
// vision tower and projector. Given to Save, it makes a whole LLaVA again, each
// tensor under the name and in the type that it had.
type MultimodalWrapper struct {
	tensors []stored // views of mapped files
	embed   string   // the stored name of the embedding table: it shows how names were spelled
}

// MultimodalWrapperOf is what a source's model is a part of, nil where it stands alone. Its
// tensors end with the source's.
func MultimodalWrapperOf(src Source) *MultimodalWrapper {
	if d, ok := src.(*Dir); ok {
		return d.wrapper
	}
	return nil
}

// stored is the inverse of Canonical.
func (a *MultimodalWrapper) stored(name string) string {
	rest, inner := strings.CutPrefix(name, "model.")
	switch {
	case strings.HasPrefix(a.embed, "model.language_model.") && inner:
		return "model.language_model." + rest
	case strings.HasPrefix(a.embed, "language_model."):
		return "language_model." + name
	}
	return name
}

// join lists the language model's tensors under their stored names, and the
// others after them.
func (a *MultimodalWrapper) join(tensors []TensorSpec) []TensorSpec {
	out := make([]TensorSpec, 0, len(tensors)+len(a.tensors))
	for _, s := range tensors {
		s.Name = a.stored(s.Name)
		out = append(out, s)
	}
	for i := range a.tensors {
		t := &a.tensors[i]
		out = append(out, TensorSpec{Name: t.name, Shape: t.shape, other: t, Write: func(w Writer) error {
			_, err := w.Write(t.data)
			return err
		}})
	}
	return out
}
