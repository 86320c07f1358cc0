//go:build cuda

package cuda

import "mop/runtime/device/cuda/driver"

// Devices returns the properties of the GPUs of the machine.
func Devices() ([]Info, error) { return driver.Devices() }

// Open starts the GPU of an index, with the set of kernels that fits it best.
func Open(index int) (*Device, error) { return OpenSet(index, "") }

// OpenSet starts a GPU with a set of kernels, to compare the sets. "" is the best set for the
// GPU; any other is added to the GPU's name.
func OpenSet(index int, set string) (*Device, error) {
	g, err := driver.Open(index, set)
	if err != nil {
		return nil, err
	}
	return newDevice(g), nil
}
