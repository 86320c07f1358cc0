//go:build cudaemu && !cuda

package main

import (
	"errors"

	"mop/runtime/device"
	"mop/runtime/device/cuda"
)

const emulatedBytes = 8 << 30

// openCUDA starts the emulation where a GPU is asked for by name.
func openCUDA(auto bool) (device.Device, error) {
	if auto {
		return nil, errors.New("the emulation is not taken by itself")
	}
	d, err := cuda.OpenEmulated(1, emulatedBytes)
	if err != nil {
		return nil, err
	}
	return d, nil
}

func listCUDA() ([]place, error) {
	return []place{{Device: "cuda", Name: "host emulation", Bytes: emulatedBytes, Capability: "8.0", SMs: 3, Driver: "none"}}, nil
}
