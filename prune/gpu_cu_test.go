//go:build cuda

package prune

import (
	"testing"

	"mop/runtime/device"
	"mop/runtime/device/cuda"
)

// gpu is the first GPU, which draws its own order of threads.
func gpu(t *testing.T, _ uint64) device.Device {
	t.Helper()
	dev, err := cuda.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, dev)
	return dev
}
