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

// anotherDevice is the emulated GPU, its threads in an order that no two runs share.
func anotherDevice(t *testing.T) device.Device {
	t.Helper()
	dev, err := cuda.OpenEmulated(rand.Uint64(), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, dev)
	return dev
}

// What has no room says so, before the first step.
func TestEmulatedRoom(t *testing.T) {
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
