//go:build cuda || cudaemu

package cuda

import (
	"fmt"

	"mop/runtime/device"
)

func (d *Device) of(op, name string, b device.Buffer, n, cols int) *buffer {
	s, ok := b.(*buffer)
	if !ok || s.size != 4 || s.rows < n || s.cols != cols {
		got := "no float32 buffer of this device"
		if ok && s.size == 4 {
			got = fmt.Sprintf("[%d %d]", s.rows, s.cols)
		}
		d.fail(fmt.Errorf("%s: %s: want [%d %d], got %s", op, name, n, cols, got))
		return nil
	}
	return s
}
