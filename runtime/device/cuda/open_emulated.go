//go:build cudaemu && !cuda

package cuda

import "mop/runtime/device/cuda/driver"

// OpenEmulated starts a device of compute capability 8.0 whose kernels run on the host,
// with a number of bytes of memory. The order of the threads depends on the seed.
func OpenEmulated(seed uint64, memory int64) (*Device, error) {
	return openEmulated(seed, memory, driver.SM80), nil
}

// openEmulated starts one for a set of kernels.
func openEmulated(seed uint64, memory int64, set string) *Device {
	return newDevice(driver.NewEmulated(seed, memory, set))
}
