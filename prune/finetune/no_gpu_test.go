//go:build !cudaemu && !cuda

package finetune

import (
	"testing"

	"mop/runtime/device"
)

// gpuDevice exists only with a GPU, real or emulated.
func gpuDevice(t *testing.T) device.Device {
	t.Fatal("this build has no GPU")
	return nil
}
