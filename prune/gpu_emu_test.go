//go:build cudaemu && !cuda

package prune

import (
	"testing"

	"mop/runtime/device"
	"mop/runtime/device/cuda"
)

// gpu is the emulated GPU, its threads in the order of a seed.
func gpu(t *testing.T, order uint64) device.Device {
	t.Helper()
	dev, err := cuda.OpenEmulated(order, 4<<30)
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, dev)
	return dev
}
