// Package driver is what the CUDA device asks of a CUDA driver: memory, copies, launches
// of kernels by name, graphs of launches and tensor maps. There are three
// implementations: the GPU (build tag cuda), the same linked with an emulated libcuda
// (tags cuda and cudalibemu), and the kernels run directly on the host (tag cudaemu).
package driver

import (
	"errors"
	"time"
)

// Pointer is an address in device memory.
type Pointer uintptr

// ErrMemory is returned where there is no device memory left.
var ErrMemory = errors.New("out of memory")

// Driver is one device. All work goes to one stream, in order.
type Driver interface {
	Info() Info
	// Alloc returns memory of undefined contents.
	Alloc(bytes int64) (Pointer, error)
	// Free waits for work that may use the memory.
	Free(p Pointer) error
	// Clear queues setting bytes to zero.
	Clear(p Pointer, bytes int64) error
	// Upload copies rows of rowBytes to rows of pitch bytes, with zeros between them.
	// src may be used again on return.
	Upload(p Pointer, pitch int, src []byte, rowBytes int) error
	// Download waits for the stream and copies.
	Download(dst []byte, p Pointer) error
	// Copy queues a copy within the device's memory.
	Copy(dst, src Pointer, bytes int64) error
	// Launch queues a kernel.
	Launch(c Call) error
	// Encode makes the tensor map by which kernels of SM90a copy TMA tiles of a tensor.
	Encode(t Tensor) (TensorMap, error)
	// Record makes a graph of launches.
	Record(calls []Call) (Recording, error)
	// FreeMemory is the memory that no process uses, in bytes.
	FreeMemory() (int64, error)
	Sync() error
	Close() error
}

// Timer is a Driver that can time launches.
type Timer interface {
	// StartTiming times every launch from now on, those of graphs too.
	StartTiming() error
	// ClearTimed is Clear as one of the launches.
	ClearTimed(p Pointer, bytes int64) error
	// StopTiming waits for the launches and returns the times of all of them, in their order.
	StopTiming() ([]time.Duration, error)
}

// ClusterCounter is a Driver that knows how many clusters of a launch run at once.
type ClusterCounter interface {
	// ResidentClusters returns that number, or 0 where the driver is too old to say.
	ResidentClusters(c Call) (int, error)
}

// Call is a kernel launch.
type Call struct {
	Kernel  string
	Grid    [3]int
	Threads int
	Shared  int      // bytes of dynamic shared memory
	Cluster int      // blocks along x in a cluster; 0 = 1
	Maps    int      // leading arguments that are tensor maps
	Slots   []uint64 // 16 for each tensor map, one for any other argument
}

// BoxCols is the number of 16-bit elements in a row of a TMA tile: 128 bytes.
const BoxCols = 64

// Tensor is a tensor of 16-bit elements in three dimensions, of which TMA tiles of
// [BoxRows, BoxCols] are copied. Elements along the first dimension lie side by side.
// Elements outside of the tensor are read as zeros.
type Tensor struct {
	Address Pointer
	Dims    [3]int
	Strides [2]int // bytes between elements along the second and the third dimension
	BoxRows int    // of a TMA tile, along the second dimension
}

// TensorMap is a tensor as CUDA encodes it.
type TensorMap [16]uint64

// Recording is a graph of launches.
type Recording interface {
	// Run queues the launches and, after them, a copy of n bytes from p. wait waits for
	// that copy. At most four runs may be queued whose wait has not returned.
	Run(p Pointer, n int) (wait func(dst []byte) error, err error)
	Close() error
}

// Info describes a device.
type Info struct {
	Name         string
	Major, Minor int    // compute capability
	SMs          int    // streaming multiprocessors
	Shared       int    // bytes of shared memory that a block may have
	ClockKHz     int    // highest clock of the multiprocessors
	Total        int64  // bytes of memory
	Driver       int    // CUDA version that the driver supports, 1000*major + 10*minor
	Set          string // the set of kernels that is used: SM80, SM90 or SM90a
}
