//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"math"

	"github.com/x448/float16"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// Read copies n rows to the host as float32, from a row on.
func (d *Device) Read(dst []float32, b device.Buffer, row, n int) {
	s := b.(*buffer)
	d.begin("read", s.operand("buffer"))
	if row < 0 || n < 0 || row+n > s.rows || len(dst) < n*s.cols {
		d.fail(fmt.Errorf("read: want rows of [%d %d], got %d from %d", s.rows, s.cols, n, row))
		return
	}
	if n*s.cols == 0 {
		return
	}
	if s.size == 4 {
		all := download[float32](d, s.row(row), (n-1)*s.pitch+s.cols)
		for i := range n {
			copy(dst[i*s.cols:(i+1)*s.cols], all[i*s.pitch:])
		}
		return
	}
	all := download[uint16](d, s.row(row), (n-1)*s.pitch+s.cols)
	for i := range n {
		for j := range s.cols {
			dst[i*s.cols+j] = widen(all[i*s.pitch+j], s.dtype)
		}
	}
}

// Write copies rows of float32 from the host to a buffer, from a row on.
func (d *Device) Write(b device.Buffer, row int, src []float32) {
	s := b.(*buffer)
	if s.size != 4 || row < 0 || s.cols == 0 || len(src)%s.cols != 0 || row+len(src)/s.cols > s.rows {
		d.fail(fmt.Errorf("write: want rows of float32 [%d %d], got %d numbers from %d", s.rows, s.cols, len(src), row))
		return
	}
	d.begin("write", s.operand("buffer"))
	if d.err != nil || len(src) == 0 {
		return
	}
	if err := d.driver.Upload(s.row(row), 4*s.pitch, bytesOf(src), 4*s.cols); err != nil {
		d.fail(fmt.Errorf("%v: upload of rows of it from %d: %w", d.currentOperation, row, err))
	}
}

// widen converts a 16-bit float to float32.
func widen(b uint16, t checkpoint.DType) float32 {
	if t == checkpoint.F16 {
		return float16.Frombits(b).Float32()
	}
	return math.Float32frombits(uint32(b) << 16)
}
