package train

import (
	"fmt"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// addGradients makes room for the gradients of the projections that the options name, all
// zero.
func (t *Trainer) addGradients() error {
	for i := range t.layers {
		for _, p := range checkpoint.Projections() {
			w := t.layers[i].Weight(p)
			if w == nil || !t.options.Gradients(i, p) {
				continue
			}
			b, err := t.dev.Buffer(w.Shape()[0], w.Shape()[1])
			if err != nil {
				return fmt.Errorf("layer %d: gradient of %s: %w", i, p, err)
			}
			t.gradients = append(t.gradients, b)
			t.grads[w] = b
		}
	}
	t.ClearGradients()
	return nil
}

// Gradient returns the gradient of a projection of Options.Gradients, [out, in], or nil.
func (t *Trainer) Gradient(layer int, p checkpoint.Param) device.Buffer {
	return t.grads[t.layers[layer].Weight(p)]
}
