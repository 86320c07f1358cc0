package model

import "mop/runtime/device"

// Close frees the model's weights, its activations and its graph decoder. The model cannot be
// used afterwards. Caches are closed on their own. A second call does nothing.
func (m *Model) Close() error {
	var err error
	if m.decoder != nil {
		err = m.decoder.Close()
	}
	for _, w := range m.weights.byName() {
		freeWeight(*w)
	}
	m.work.free()
	return err
}

// free frees the activations.
func (w *workspace) free() {
	freeBuffers(w.tail, w.last, w.logits)
	w.tail, w.last, w.logits = nil, nil, nil
	w.freeRows()
}

// freeRows frees the activations whose size is that of a pass.
func (w *workspace) freeRows() {
	freeBuffers(w.x)
	freeBuffers(w.q...)
	freeBuffers(w.a...)
	freeBuffers(w.mid...)
	w.rows, w.x, w.final, w.q, w.a, w.mid = 0, nil, nil, nil, nil, nil
}

// Close frees the reference's weights and buffers. It cannot be used afterwards.
func (k *CachedStates) Close() {
	freeWeight(k.norm)
	freeWeight(k.head)
	freeBuffers(k.x, k.last)
}

func freeWeight(w device.Weight) {
	if w != nil {
		w.Free()
	}
}

// freeBuffers frees those that are not nil.
func freeBuffers(list ...device.Buffer) {
	for _, b := range list {
		if b != nil {
			b.Free()
		}
	}
}
