//go:build cudaemu && !cuda

package finetune

import (
	"errors"
	"math/rand/v2"
	"testing"

	"mop/internal/progress"
	"mop/runtime/device"
	"mop/runtime/device/cuda"
)

// gpuDevice opens the emulated GPU, with a random order of threads.
func gpuDevice(t *testing.T) device.Device {
	t.Helper()
	dev, err := cuda.OpenEmulated(rand.Uint64(), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, dev)
	return dev
}

// A model that does not fit into the GPU's memory is refused before the first step.
func TestEmulatedMemory(t *testing.T) {
	small, err := cuda.OpenEmulated(1, 900<<10)
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	o := fixture(t, 1)
	o.Device = small
	steps := 0
	o.Progress = func(progress.Update) { steps++ }
	if _, err := Run(t.Context(), o); !errors.Is(err, device.ErrMemory) || steps > 0 {
		t.Errorf("want no room before the first step, got %v after %d steps", err, steps)
	} else {
		t.Log(err)
	}
}
