//go:build cuda

package cuda

import "mop/runtime/device/cuda/driver"

// Devices describes the GPUs of the machine.
func Devices() ([]Info, error) { return driver.Devices() }

// Open starts the GPU of an index, with the set of kernels that fits it best.
func Open(index int) (*Device, error) { return OpenSet(index, "") }

// OpenSet starts a GPU with a set of kernels that it runs, so that it can be compared with
// the best one. The set is then part of the GPU's name; "" is the best one.
func OpenSet(index int, set string) (*Device, error) {
	g, err := driver.Open(index, set)
	if err != nil {
		return nil, err
	}
	return newDevice(g), nil
}
