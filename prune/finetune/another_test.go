//go:build !cudaemu && !cuda

package finetune

import (
	"testing"

	"mop/runtime/device"
)

// anotherDevice is only there with a GPU, real or emulated.
func anotherDevice(t *testing.T) device.Device {
	t.Fatal("there is no device but the host's")
	return nil
}
