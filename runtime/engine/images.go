package engine

import (
	"errors"
	"fmt"

	"mop/runtime/device"
	"mop/runtime/model"
)

// computeImage computes the embeddings of one image: the next one of the oldest request that
// waits for some. A step computes no more than one, so that the sequences that decode do not
// wait for all images of a request. An image that fails ends its request only.
func (e *Engine) computeImage() error {
	for _, r := range e.running {
		n := len(r.images)
		if n == len(r.Images) || r.result.Finish() != "" {
			continue
		}
		image := r.Images[n]
		rows, err := image.Compute()
		if want := image.Tokens * e.m.Config.HiddenSize; err == nil && len(rows) != want {
			err = fmt.Errorf("image %d: want %d numbers, got %d", n, want, len(rows))
		}
		if err != nil && !errors.Is(err, device.ErrMemory) && e.m.Device().Sync() != nil {
			return err // of the device itself
		}
		if err != nil {
			e.end(r, FinishError, err)
			continue
		}
		r.images = append(r.images, model.Embeddings{At: image.At, Rows: rows})
		return nil
	}
	return nil
}
