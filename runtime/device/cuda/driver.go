//go:build cuda || cudaemu

package cuda

import "errors"

// pointer is an address on the device.
type pointer uintptr

// errMemory is what a driver's Alloc gives where there is no room.
var errMemory = errors.New("out of memory")

// driver is what the device asks of CUDA, or of its emulation. All work goes to
// one stream, in order.
type driver interface {
	Info() Info
	Alloc(bytes int64) (pointer, error) // contents undefined
	Free(p pointer) error
	Clear(p pointer, bytes int64) error
	// Upload copies rows of rowBytes to rows of pitch bytes, zeros between; src
	// may be used again on return.
	Upload(p pointer, pitch int, src []byte, rowBytes int) error
	// Download waits for the stream and copies.
	Download(dst []byte, p pointer) error
	// Launch queues a kernel.
	Launch(c call) error
	// Encode makes the map by which kernels of the set sm_90a copy boxes of a tensor.
	Encode(t tensor) (tensorMap, error)
	// Record makes a unit of launches that is queued as one.
	Record(calls []call) (recording, error)
	// FreeMemory is what the device has left, of all processes, bytes.
	FreeMemory() (int64, error)
	Sync() error
	Close() error
}

// call is a launch to come.
type call struct {
	kernel          string
	grid            [3]int
	threads, shared int
	cluster         int      // blocks along x that run side by side, 0 = 1
	maps            int      // leading arguments that are tensor maps
	slots           []uint64 // sixteen a tensor map, one any other argument
}

// tensor is 16-bit elements of three dimensions and the boxes that are copied of it:
// the first dimension lies side by side, 128 bytes of it are a row of a box; what lies
// outside is zeros.
type tensor struct {
	p       pointer
	dims    [3]int
	strides [2]int // bytes between elements of the second and the third dimension
	rows    int    // of a box, in the second dimension
}

// tensorMap is a tensor as the copies want it.
type tensorMap [16]uint64

// recording is launches that are queued as one.
type recording interface {
	// Run queues them, and after them a copy of n bytes from p; take waits for that
	// copy. At most four may be under way.
	Run(p pointer, n int) (take func(dst []byte) error, err error)
	Close() error
}

// Info describes a device.
type Info struct {
	Name         string
	Major, Minor int // compute capability
	SMs          int
	Shared       int    // bytes of shared memory a block may have
	Total        int64  // bytes of memory
	Driver       int    // version that the driver supports, 1000*major + 10*minor
	Set          string // of the kernels that are used: sm_80, sm_90 or sm_90a
}
