package driver

import (
	"fmt"
	"slices"
)

// The sets of kernels are named after what they are compiled for. SM90a has the kernels of
// SM90, some of them replaced by kernels that only compute capability 9.0 itself runs.
const (
	SM80  = "sm_80"
	SM90  = "sm_90"
	SM90a = "sm_90a"
)

// Sets are all sets of kernels.
func Sets() []string { return []string{SM90a, SM90, SM80} }

// KernelSet is the best set for compute capability cc, 10*major + minor: SM90a where the
// driver supports it and encodes tensor maps, both since CUDA 12.0.
func KernelSet(cc, version int, tensorMaps bool) string {
	switch {
	case cc == 90 && version >= 12000 && tensorMaps:
		return SM90a
	case cc >= 90:
		return SM90
	}
	return SM80
}

// SetsOf are the sets that run on a GPU whose best set is the given one, which comes first.
func SetsOf(set string) []string { return Sets()[slices.Index(Sets(), set):] }

// oldestVersion is the first CUDA version with everything that is called:
// cuLaunchKernelEx came with CUDA 11.8.
const oldestVersion = 11080

// checkVersion refuses a driver of an older version; version is 1000*major + 10*minor.
func checkVersion(version int) error {
	if version < oldestVersion {
		return fmt.Errorf("want a driver for CUDA %d.%d or later, got one for %d.%d", oldestVersion/1000, oldestVersion%1000/10, version/1000, version%1000/10)
	}
	return nil
}
