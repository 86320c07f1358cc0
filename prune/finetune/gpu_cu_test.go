//go:build cuda

package finetune

import (
	"testing"

	"mop/runtime/device"
	"mop/runtime/device/cuda"
)

// gpuDevice opens the first GPU.
func gpuDevice(t *testing.T) device.Device {
	t.Helper()
	dev, err := cuda.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, dev)
	return dev
}
