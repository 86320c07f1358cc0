//go:build cudaemu && !cuda

package driver

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
	"unsafe"

	kernels "mop/kernels/cuda"
)

// Emulated runs the kernels on the host. It has few SMs, the least shared memory that a
// supported GPU gives a block, and guard bytes around every allocation.
type Emulated struct {
	seed  *rand.Rand
	sizes map[Pointer]int64
	limit int64 // bytes
	used  int64
	set   string

	timing bool
	times  []time.Duration
}

// NewEmulated makes a device with a number of bytes of memory that runs a set of kernels.
// The order in which CUDA threads run depends on the seed.
func NewEmulated(seed uint64, memory int64, set string) *Emulated {
	return &Emulated{seed: rand.New(rand.NewPCG(seed, 0)), sizes: map[Pointer]int64{}, limit: memory, set: set}
}

func (e *Emulated) Info() Info {
	i := Info{Name: "host emulation", Major: 8, SMs: 3, Shared: 99 << 10, ClockKHz: 1e6, Total: e.limit, Set: e.set}
	if e.set != SM80 {
		i.Major, i.Shared = 9, 227<<10
	}
	return i
}

func (e *Emulated) Alloc(bytes int64) (Pointer, error) {
	if e.used+bytes > e.limit {
		return 0, ErrMemory
	}
	p := Pointer(kernels.Alloc(bytes))
	if p == 0 {
		return 0, ErrMemory
	}
	e.sizes[p], e.used = bytes, e.used+bytes
	return p, nil
}

func (e *Emulated) Free(p Pointer) error {
	e.used -= e.sizes[p]
	delete(e.sizes, p)
	return kernels.Free(uintptr(p))
}

// bytes is the memory from p on.
func (e *Emulated) bytes(p Pointer, n int64) []byte {
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&p)), n)
}

func (e *Emulated) Clear(p Pointer, n int64) error {
	clear(e.bytes(p, n))
	return nil
}

func (e *Emulated) Upload(p Pointer, pitch int, src []byte, rowBytes int) error {
	for at := 0; at < len(src); at += rowBytes {
		row := e.bytes(p, int64(pitch))
		clear(row[copy(row, src[at:at+rowBytes]):])
		p += Pointer(pitch)
	}
	return nil
}

func (e *Emulated) Download(dst []byte, p Pointer) error {
	copy(dst, e.bytes(p, int64(len(dst))))
	return nil
}

func (e *Emulated) Copy(dst, src Pointer, n int64) error {
	copy(e.bytes(dst, n), e.bytes(src, n))
	return nil
}

func (e *Emulated) Launch(c Call) error {
	if limit := e.Info().Shared; c.Shared > limit {
		return fmt.Errorf("want at most %d bytes of shared memory, got %d", limit, c.Shared)
	}
	e.time(c.Grid)
	return kernels.Launch(c.Kernel, c.Grid, c.Threads, c.Shared, max(1, c.Cluster), c.Slots, e.seed.Uint64())
}

// time adds the time of a launch on the emulation's clock: a microsecond for each block.
func (e *Emulated) time(grid [3]int) {
	if e.timing {
		e.times = append(e.times, time.Duration(grid[0]*grid[1]*grid[2])*time.Microsecond)
	}
}

// StartTiming: see Timer.
func (e *Emulated) StartTiming() error {
	e.timing, e.times = true, nil
	return nil
}

// ClearTimed: see Timer.
func (e *Emulated) ClearTimed(p Pointer, n int64) error {
	e.time([3]int{1, 1, 1})
	return e.Clear(p, n)
}

// StopTiming: see Timer.
func (e *Emulated) StopTiming() ([]time.Duration, error) {
	e.timing = false
	return e.times, nil
}

func (e *Emulated) Encode(t Tensor) (TensorMap, error) {
	return kernels.Encode(uintptr(t.Address), [3]uint64{uint64(t.Dims[0]), uint64(t.Dims[1]), uint64(t.Dims[2])},
		[2]uint64{uint64(t.Strides[0]), uint64(t.Strides[1])}, [3]uint32{BoxCols, uint32(t.BoxRows), 1})
}

func (e *Emulated) FreeMemory() (int64, error) { return e.limit - e.used, nil }

// emulatedRecording runs its launches one by one.
type emulatedRecording struct {
	e     *Emulated
	calls []Call
}

func (e *Emulated) Record(calls []Call) (Recording, error) { return &emulatedRecording{e, calls}, nil }

func (r *emulatedRecording) Run(p Pointer, n int) (func([]byte) error, error) {
	for _, c := range r.calls {
		if err := r.e.Launch(c); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Kernel, err)
		}
	}
	result := slices.Clone(r.e.bytes(p, int64(n)))
	return func(dst []byte) error { copy(dst, result); return nil }, nil
}

func (r *emulatedRecording) Close() error { return nil }

func (e *Emulated) Sync() error { return nil }

// Close frees what is left; damaged guard bytes are an error.
func (e *Emulated) Close() (err error) {
	for p := range e.sizes {
		if e := e.Free(p); e != nil && err == nil {
			err = fmt.Errorf("at close: %w", e)
		}
	}
	return err
}
