//go:build cudaemu && !cuda

package cuda

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"unsafe"

	kernels "mop/kernels/cuda"
)

// emulated is the host's emulation of the kernels, with few SMs, the least shared memory
// that a supported GPU gives a block, and fences around every buffer.
type emulated struct {
	seed  *rand.Rand
	sizes map[pointer]int64
	room  int64 // bytes
	used  int64
	set   string
}

// OpenEmulated starts a device whose kernels run on the host, threads in an order
// that the seed draws, with room bytes of memory: a card of compute capability 8.0.
func OpenEmulated(seed uint64, room int64) (*Device, error) {
	return openEmulated(seed, room, setSM80), nil
}

// openEmulated is a card for a set of kernels.
func openEmulated(seed uint64, room int64, set string) *Device {
	return newDevice(&emulated{seed: rand.New(rand.NewPCG(seed, 0)), sizes: map[pointer]int64{}, room: room, set: set})
}

func (e *emulated) Info() Info {
	i := Info{Name: "host emulation", Major: 8, SMs: 3, Shared: 99 << 10, Total: e.room, Set: e.set}
	if e.set != setSM80 {
		i.Major, i.Shared = 9, 227<<10
	}
	return i
}

func (e *emulated) Alloc(bytes int64) (pointer, error) {
	if e.used+bytes > e.room {
		return 0, errMemory
	}
	p := pointer(kernels.Alloc(bytes))
	if p == 0 {
		return 0, errMemory
	}
	e.sizes[p], e.used = bytes, e.used+bytes
	return p, nil
}

func (e *emulated) Free(p pointer) error {
	e.used -= e.sizes[p]
	delete(e.sizes, p)
	return kernels.Free(uintptr(p))
}

// bytes is the memory from p on.
func (e *emulated) bytes(p pointer, n int64) []byte {
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&p)), n)
}

func (e *emulated) Clear(p pointer, n int64) error {
	clear(e.bytes(p, n))
	return nil
}

func (e *emulated) Upload(p pointer, pitch int, src []byte, rowBytes int) error {
	for at := 0; at < len(src); at += rowBytes {
		row := e.bytes(p, int64(pitch))
		clear(row[copy(row, src[at:at+rowBytes]):])
		p += pointer(pitch)
	}
	return nil
}

func (e *emulated) Download(dst []byte, p pointer) error {
	copy(dst, e.bytes(p, int64(len(dst))))
	return nil
}

func (e *emulated) Launch(c call) error {
	if most := e.Info().Shared; c.shared > most {
		return fmt.Errorf("want at most %d bytes of shared memory, got %d", most, c.shared)
	}
	return kernels.Launch(c.kernel, c.grid, c.threads, c.shared, max(1, c.cluster), c.slots, e.seed.Uint64())
}

func (e *emulated) Encode(t tensor) (tensorMap, error) {
	return kernels.Encode(uintptr(t.p), [3]uint64{uint64(t.dims[0]), uint64(t.dims[1]), uint64(t.dims[2])},
		[2]uint64{uint64(t.strides[0]), uint64(t.strides[1])}, [3]uint32{depth, uint32(t.rows), 1})
}

func (e *emulated) FreeMemory() (int64, error) { return e.room - e.used, nil }

// emulatedRecording runs its launches one by one.
type emulatedRecording struct {
	e     *emulated
	calls []call
}

func (e *emulated) Record(calls []call) (recording, error) { return &emulatedRecording{e, calls}, nil }

func (r *emulatedRecording) Run(p pointer, n int) (func([]byte) error, error) {
	for _, c := range r.calls {
		if err := r.e.Launch(c); err != nil {
			return nil, fmt.Errorf("%s: %w", c.kernel, err)
		}
	}
	said := slices.Clone(r.e.bytes(p, int64(n)))
	return func(dst []byte) error { copy(dst, said); return nil }, nil
}

func (r *emulatedRecording) Close() error { return nil }

func (e *emulated) Sync() error { return nil }

// Close frees what is left; a damaged fence shows.
func (e *emulated) Close() (err error) {
	for p := range e.sizes {
		if e := e.Free(p); e != nil && err == nil {
			err = fmt.Errorf("at close: %w", e)
		}
	}
	return err
}
