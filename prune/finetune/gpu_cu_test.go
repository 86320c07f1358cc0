//go:build cuda

package finetune

import (
	"testing"

	"mop/runtime/device"
	"mop/runtime/device/cuda"
)

// anotherDevice is the first GPU.
func anotherDevice(t *testing.T) device.Device {
	t.Helper()
	dev, err := cuda.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, dev)
	return dev
}
