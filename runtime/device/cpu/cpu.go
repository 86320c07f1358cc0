// Package cpu runs the model's operations on the host: plain Go on all cores,
// read like the formulas. Weights stay where they are mapped, in their type.
package cpu

import (
	"fmt"
	"runtime"
	"unsafe"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// Device is the host.
type Device struct {
	pool    *pool
	scratch [][]float32 // one per worker, reused between operations
	hidden  []float32   // the normed input of QKV and GateUp
	train   training    // what only training needs
	err     error
}

// New starts a device of the given number of threads, 0 = one per core.
func New(threads int) (*Device, error) {
	if threads < 0 {
		return nil, fmt.Errorf("threads: want 0 or more, got %d", threads)
	}
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	return &Device{pool: newPool(threads), scratch: make([][]float32, threads), train: training{panels: make([]*panels, threads)}}, nil
}

var _ device.Device = (*Device)(nil)

func (d *Device) Name() string { return "cpu" }
func (d *Device) Threads() int { return d.pool.threads }
func (d *Device) Sync() error  { return d.err }

// Close ends the workers.
func (d *Device) Close() error {
	d.pool.close()
	return nil
}

// weight is a view of a stored tensor; exactly one of the slices is set.
type weight struct {
	shape []int
	f32   []float32
	f16   []uint16
	bf16  []uint16
}

func (w *weight) Shape() []int { return w.shape }
func (w *weight) Bytes() int64 { return int64(4*len(w.f32) + 2*len(w.f16) + 2*len(w.bf16)) }

// Place views the tensor's bytes; nothing is copied.
func (d *Device) Place(t checkpoint.Tensor) (device.Weight, error) {
	n := 1
	for _, s := range t.Shape {
		n *= s
	}
	if len(t.Data) != n*t.DType.Size() {
		return nil, fmt.Errorf("%s: want %d bytes for shape %v of %v, got %d", t.Name, n*t.DType.Size(), t.Shape, t.DType, len(t.Data))
	}
	w := &weight{shape: t.Shape}
	if n == 0 {
		return w, nil
	}
	p := unsafe.Pointer(unsafe.SliceData(t.Data))
	if uintptr(p)%uintptr(t.DType.Size()) != 0 {
		return nil, fmt.Errorf("%s: not aligned to its %d-byte elements", t.Name, t.DType.Size())
	}
	switch t.DType {
	case checkpoint.F32:
		w.f32 = unsafe.Slice((*float32)(p), n)
	case checkpoint.F16:
		w.f16 = unsafe.Slice((*uint16)(p), n)
	case checkpoint.BF16:
		w.bf16 = unsafe.Slice((*uint16)(p), n)
	}
	return w, nil
}

// buffer is a row-major array of the host.
type buffer struct {
	data       []float32 // [rows, cols]
	rows, cols int
}

func (b *buffer) Rows() int            { return b.rows }
func (b *buffer) Cols() int            { return b.cols }
func (b *buffer) row(i int) []float32  { return b.data[i*b.cols : (i+1)*b.cols] }
func data(b device.Buffer) *buffer     { return b.(*buffer) }
func stored(w device.Weight) *weight   { return w.(*weight) }
func (w *weight) rowsCols() (r, c int) { return w.shape[0], w.shape[1] }

// Buffer makes a zeroed array.
func (d *Device) Buffer(rows, cols int) (device.Buffer, error) {
	if rows < 0 || cols < 0 {
		return nil, fmt.Errorf("buffer: want a size of 0 or more, got [%d %d]", rows, cols)
	}
	return &buffer{make([]float32, rows*cols), rows, cols}, nil
}

// Inner is Buffer: activations are float32 throughout.
func (d *Device) Inner(rows, cols int) (device.Buffer, error) { return d.Buffer(rows, cols) }

// Cache makes a layer's keys and values, float32.
func (d *Device) Cache(sequences, capacity int, hs device.Heads) (device.KV, error) {
	keys, err := d.Buffer(sequences*capacity, hs.K*hs.Dh)
	if err != nil {
		return device.KV{}, err
	}
	values, err := d.Buffer(sequences*capacity, hs.K*hs.Dh)
	return device.KV{Keys: keys, Values: values, Capacity: capacity}, err
}

// CacheBytes is that of a float32.
func (d *Device) CacheBytes() int { return 4 }

// Read copies n rows from row on.
func (d *Device) Read(dst []float32, b device.Buffer, row, n int) {
	copy(dst, data(b).data[row*b.Cols():(row+n)*b.Cols()])
}

// temp is worker w's scratch of n floats, contents undefined.
func (d *Device) temp(w, n int) []float32 {
	if cap(d.scratch[w]) < n {
		d.scratch[w] = make([]float32, n)
	}
	return d.scratch[w][:n]
}
