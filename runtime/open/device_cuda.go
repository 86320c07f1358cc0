//go:build cuda

package open

import (
	"fmt"

	"mop/runtime/device"
	"mop/runtime/device/cuda"
)

// openGPU opens a GPU with a set of kernels, "" for the best one, and KV caches of 16 or 8 bits,
// and lists the GPUs that there are.
func openGPU(id DeviceID, kernels string, int8KV bool) (device.Device, []DeviceInfo, error) {
	gpus, err := listGPUs()
	if err == nil && id.Index >= len(gpus) {
		err = errNoSuchGPU
	}
	if err != nil {
		return nil, gpus, err
	}
	d, err := cuda.OpenSet(id.Index, kernels)
	if err != nil {
		return nil, gpus, err
	}
	if int8KV {
		d.SetInt8KV()
	}
	return d, gpus, nil
}

func listGPUs() ([]DeviceInfo, error) {
	all, err := cuda.Devices()
	var list []DeviceInfo
	for n, i := range all {
		list = append(list, DeviceInfo{Device: gpuName(n), Name: i.Name, Bytes: i.Total, Capability: fmt.Sprintf("%d.%d", i.Major, i.Minor), SMs: i.SMs,
			Driver: fmt.Sprintf("%d.%d", i.Driver/1000, i.Driver%1000/10), Kernels: i.Set})
	}
	return list, err
}
