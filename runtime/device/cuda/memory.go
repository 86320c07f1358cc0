//go:build cuda || cudaemu

package cuda

import (
	"errors"
	"fmt"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

// buffer is memory of the device: rows of cols elements of size bytes, pitch elements
// apart. The memory is freed when its owner and all decode graphs have released it.
type buffer struct {
	p          pointer
	rows, cols int
	pitch      int // elements
	size       int // bytes of an element
	dtype      checkpoint.DType

	device    *Device
	allocated int64       // bytes
	users     int         // the owner and the decode graphs
	freed     bool        // by the owner
	mask      *storedMask // of the dropout of an adapter's A; nil = none
}

// Free: see device.Buffer.
func (b *buffer) Free() {
	if !b.freed {
		b.freed = true
		b.release()
	}
}

// release ends one use of the memory; after the last one it is freed.
func (b *buffer) release() {
	if b.users--; b.users == 0 {
		if b.mask != nil {
			b.mask.Free()
		}
		b.device.freeMemory(b.p, b.allocated)
	}
}

func (b *buffer) Rows() int    { return b.rows }
func (b *buffer) Cols() int    { return b.cols }
func (b *buffer) bytes() int64 { return int64(b.rows) * int64(b.pitch) * int64(b.size) }

// row returns the address of row r.
func (b *buffer) row(r int) pointer { return b.p + pointer(r*b.pitch*b.size) }

// alloc allocates a buffer with undefined contents.
func (d *Device) alloc(rows, cols, pitch, size int) (*buffer, error) {
	if rows < 0 || cols < 0 || pitch < cols {
		return nil, fmt.Errorf("cuda: buffer: want a size of 0 or more, got [%d %d]", rows, cols)
	}
	b := &buffer{rows: rows, cols: cols, pitch: pitch, size: size, dtype: d.typeFor(checkpoint.F32), device: d, users: 1}
	b.allocated = max(b.bytes(), 1)
	var err error
	b.p, err = d.memory(b.allocated, fmt.Sprintf("[%d %d]", rows, cols))
	if err != nil {
		return nil, err
	}
	return b, nil
}

// zeroed allocates a buffer of zeros.
func (d *Device) zeroed(rows, cols, pitch, size int) (*buffer, error) {
	b, err := d.alloc(rows, cols, pitch, size)
	if err != nil {
		return nil, err
	}
	if err := d.driver.Clear(b.p, b.bytes()); err != nil {
		b.Free()
		return nil, d.failWith(fmt.Errorf("%v: clearing [%d %d]: %w", d.currentOperation, rows, cols, err))
	}
	return b, nil
}

// memory allocates n bytes; what describes them in errors. If there is no memory left, it
// frees the slabs of cache pages that are not in use and tries again. An error of memory does
// not make the device unusable.
func (d *Device) memory(n int64, what string) (pointer, error) {
	if d.err != nil {
		return 0, d.err
	}
	p, err := d.driver.Alloc(n)
	if errors.Is(err, driver.ErrMemory) {
		d.shrink()
		p, err = d.driver.Alloc(n)
	}
	if errors.Is(err, driver.ErrMemory) {
		return 0, fmt.Errorf("cuda: %w: want %d bytes for %s, have %s", device.ErrMemory, n, what, d.free())
	}
	if err != nil {
		return 0, d.failWith(fmt.Errorf("%v: %d bytes for %s: %w", d.currentOperation, n, what, err))
	}
	d.countMemory(n)
	return p, nil
}

// countMemory adds n bytes to the memory in use.
func (d *Device) countMemory(n int64) {
	d.used += n
	d.peak = max(d.peak, d.used)
}

// freeMemory frees n bytes that memory allocated.
func (d *Device) freeMemory(p pointer, n int64) {
	if d.driver == nil {
		return // Close has freed everything
	}
	d.used -= n
	d.fail(d.driver.Free(p))
}

// PeakBytes returns the largest number of bytes that were allocated at one time.
func (d *Device) PeakBytes() int64 { return d.peak }

// free describes the free memory, for errors.
func (d *Device) free() string {
	free, err := d.driver.FreeMemory()
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d free of %d, %d used by this process", free, d.info.Total, d.used)
}
