//go:build cudaemu

package cuda

// #cgo CXXFLAGS: -DCUEMU -std=c++17 -O2 -fno-strict-aliasing -Wall -Wno-unknown-pragmas -Wno-parentheses -Wno-psabi
// #include <stdlib.h>
// #include "emu_c.h"
import "C"

import (
	"embed"
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"mop/kernels/emu"
)

// The sources' text, embedded so that a change of it rebuilds this package.
//
//go:embed *.cu *.cuh ptx/entries.inc
var sources embed.FS

var _ = [...]embed.FS{sources, emu.Source}

// one launch at a time: the emulated machine has one state.
var emulator sync.Mutex

// Launch runs a kernel on the host, blocks in clusters; each argument takes one slot of
// eight bytes, a tensor map sixteen. The order of its threads is drawn from the seed.
func Launch(name string, grid [3]int, threads, shared, cluster int, slots []uint64, seed uint64) error {
	emulator.Lock()
	defer emulator.Unlock()
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	text := C.mop_emu_launch(c, C.int(grid[0]), C.int(grid[1]), C.int(grid[2]), C.int(threads), C.int(shared), C.int(cluster), (*C.uint64_t)(unsafe.SliceData(slots)), C.uint64_t(seed))
	if text != nil {
		return errors.New(C.GoString(text))
	}
	return nil
}

// Encode makes the map of a tensor of 16-bit elements, as cuTensorMapEncodeTiled does
// for boxes with 128 bytes of swizzle. Strides are in bytes.
func Encode(address uintptr, dims [3]uint64, strides [2]uint64, box [3]uint32) (m [16]uint64, err error) {
	at := *(*unsafe.Pointer)(unsafe.Pointer(&address))
	text := C.mop_emu_encode((*C.uint64_t)(&m[0]), at, (*C.uint64_t)(&dims[0]), (*C.uint64_t)(&strides[0]), (*C.uint32_t)(&box[0]))
	if text != nil {
		return m, errors.New(C.GoString(text))
	}
	return m, nil
}

// Alloc makes a buffer of poison that ends at an unmapped page. 0 = no memory.
func Alloc(bytes int64) uintptr { return uintptr(C.mop_emu_alloc(C.size_t(bytes))) }

// Free ends a buffer's life. It reports bytes beside the buffer that were
// written.
func Free(p uintptr) error {
	at := *(*unsafe.Pointer)(unsafe.Pointer(&p))
	defer C.mop_emu_free(at)
	if C.mop_emu_intact(at) == 0 {
		return fmt.Errorf("buffer %#x: the bytes beside it were written", p)
	}
	return nil
}
