//go:build cudaemu && !cuda

package open

import (
	"errors"
	"fmt"

	"mop/runtime/device"
	"mop/runtime/device/cuda"
)

const emulatedBytes = 8 << 30

// openGPU opens the emulated GPU if it is asked for by name.
func openGPU(id DeviceID, kernels string, int8KV bool) (device.Device, []DeviceInfo, error) {
	gpus, _ := listGPUs()
	if id.Kind == "auto" {
		return nil, gpus, errors.New("auto does not choose the emulated GPU")
	}
	if id.Index > 0 {
		return nil, gpus, errNoSuchGPU
	}
	if kernels != "" && kernels != gpus[0].Kernels {
		return nil, gpus, fmt.Errorf("the emulated GPU has kernels for %s, not for %s", gpus[0].Kernels, kernels)
	}
	d, err := cuda.OpenEmulated(1, emulatedBytes)
	if err != nil {
		return nil, gpus, err
	}
	if int8KV {
		d.SetInt8KV()
	}
	return d, gpus, nil
}

func listGPUs() ([]DeviceInfo, error) {
	return []DeviceInfo{{Device: gpuName(0), Name: "host emulation", Bytes: emulatedBytes, Capability: "8.0", SMs: 3, Driver: "none", Kernels: "sm_80"}}, nil
}
