//go:build cuda || cudaemu

package cuda

import (
	"errors"
	"fmt"
	"time"

	"mop/runtime/device/cuda/driver"
)

const (
	copyPasses   = 6       // the fastest one counts, because other work on the GPU only slows a pass down
	copiesInPass = 4       // makes the wait at the end of a pass short in comparison
	maxCopyBytes = 1 << 29 // much larger than the L2 cache
)

// CopyBandwidth measures the bandwidth of copies within the device's memory, in bytes per
// second; reads and writes both count. Its buffers are not part of PeakBytes.
func (d *Device) CopyBandwidth() (float64, error) {
	bytes := min(maxCopyBytes, d.info.Total/128) &^ 255
	var buffers [2]driver.Pointer
	free := func() (err error) {
		for _, p := range buffers {
			if p != 0 {
				err = errors.Join(err, d.driver.Free(p))
			}
		}
		return err
	}
	for i := range buffers {
		var err error
		if buffers[i], err = d.driver.Alloc(bytes); err == nil {
			err = d.driver.Clear(buffers[i], bytes)
		}
		if err != nil {
			return 0, errors.Join(fmt.Errorf("cuda: buffers of %d bytes to measure the bandwidth: %w", bytes, err), free())
		}
	}
	fastest := time.Duration(0)
	err := d.driver.Sync()
	for pass := 0; pass < copyPasses && err == nil; pass++ {
		start := time.Now()
		for range copiesInPass {
			err = errors.Join(err, d.driver.Copy(buffers[0], buffers[1], bytes))
		}
		err = errors.Join(err, d.driver.Sync())
		if taken := time.Since(start); pass == 0 || taken < fastest {
			fastest = taken
		}
	}
	if err = errors.Join(err, free()); err != nil {
		return 0, fmt.Errorf("cuda: measuring the bandwidth: %w", err)
	}
	return 2 * copiesInPass * float64(bytes) / max(fastest, time.Nanosecond).Seconds(), nil
}
