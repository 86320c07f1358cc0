//go:build cuda

package main

import (
	"fmt"

	"mop/runtime/device"
	"mop/runtime/device/cuda"
)

// openCUDA starts the GPU of an index with a set of kernels, "" for its own, or says
// which there are.
func openCUDA(f deviceFlag, set string) (device.Device, []deviceInfo, error) {
	gpus, err := listCUDA()
	if err == nil && f.index >= len(gpus) {
		err = noGPU(f.index)
	}
	if err != nil {
		return nil, gpus, err
	}
	d, err := cuda.OpenSet(f.index, set)
	if err != nil {
		return nil, gpus, err
	}
	return d, gpus, nil
}

func listCUDA() ([]deviceInfo, error) {
	all, err := cuda.Devices()
	var list []deviceInfo
	for n, i := range all {
		list = append(list, deviceInfo{Device: gpuName(n), Name: i.Name, Bytes: i.Total, Capability: fmt.Sprintf("%d.%d", i.Major, i.Minor), SMs: i.SMs,
			Driver: fmt.Sprintf("%d.%d", i.Driver/1000, i.Driver%1000/10), Kernels: i.Set})
	}
	return list, err
}
