//go:build linux

package hardware

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// allocate gives bytes (a multiple of 8) of zeroed memory outside Go's heap,
// on huge pages where the system has them, and the function that returns it at
// once: a garbage collector would hold on to it during the measurements that
// follow.
func allocate(bytes int64) (words []uint64, release func(), err error) {
	b, err := unix.Mmap(-1, 0, int(bytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, err
	}
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // a wish: where it is refused, small pages do
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/8), func() { _ = unix.Munmap(b) }, nil
}
