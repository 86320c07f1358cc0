//go:build cuda

package main

import (
	"fmt"

	"mop/runtime/device"
	"mop/runtime/device/cuda"
)

// openCUDA starts the first GPU.
func openCUDA(bool) (device.Device, error) {
	d, err := cuda.Open(0)
	if err != nil {
		return nil, err
	}
	return d, nil
}

func listCUDA() ([]place, error) {
	all, err := cuda.Devices()
	var list []place
	for _, i := range all {
		list = append(list, place{Device: "cuda", Name: i.Name, Bytes: i.Total, Capability: fmt.Sprintf("%d.%d", i.Major, i.Minor), SMs: i.SMs,
			Driver: fmt.Sprintf("%d.%d", i.Driver/1000, i.Driver%1000/10)})
	}
	return list, err
}
