package criterion

import (
	"mop/runtime/dataset"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// Reference is the original that candidates are compared with: its model, run
// anew (Live), or the states that it left (Kept). Both give the same bits.
type Reference interface {
	// Window makes a window the present one, w its place in the list.
	Window(w int, ids []int) (model.Reference, error)
}

// live is a model as a reference.
type live struct {
	m     *model.Model
	cache *kvcache.Cache
}

// LiveReference makes a reference of a model.
func LiveReference(m *model.Model, windows []dataset.Window) (Reference, error) {
	cache, err := kvcache.NewWhole(m.Device(), m.Config, longest(windows))
	return &live{m, cache}, err
}

func (l *live) Window(_ int, ids []int) (model.Reference, error) {
	l.cache.Reset()
	return l.m, l.m.Forward(l.cache, []model.Chunk{{Seq: 0, Tokens: ids}}, nil)
}
