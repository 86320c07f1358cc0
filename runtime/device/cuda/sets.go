package cuda

import "mop/runtime/device/cuda/driver"

// Info describes a GPU.
type Info = driver.Info

// Sets returns the names of all sets of kernels; see OpenSet.
func Sets() []string { return driver.Sets() }
