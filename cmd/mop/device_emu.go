//go:build cudaemu && !cuda

package main

import (
	"errors"
	"fmt"

	"mop/runtime/device"
	"mop/runtime/device/cuda"
)

const emulatedBytes = 8 << 30

// openCUDA starts the emulation where a GPU is asked for by name.
func openCUDA(f deviceFlag, set string) (device.Device, []deviceInfo, error) {
	gpus, _ := listCUDA()
	if f.kind == "auto" {
		return nil, gpus, errors.New("the emulation is not taken by itself")
	}
	if f.index > 0 {
		return nil, gpus, noGPU(f.index)
	}
	if set != "" && set != gpus[0].Kernels {
		return nil, gpus, fmt.Errorf("the emulation has kernels of %s, not of %s", gpus[0].Kernels, set)
	}
	d, err := cuda.OpenEmulated(1, emulatedBytes)
	if err != nil {
		return nil, gpus, err
	}
	return d, gpus, nil
}

func listCUDA() ([]deviceInfo, error) {
	return []deviceInfo{{Device: gpuName(0), Name: "host emulation", Bytes: emulatedBytes, Capability: "8.0", SMs: 3, Driver: "none", Kernels: "sm_80"}}, nil
}
