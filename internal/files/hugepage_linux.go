package files

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Advise asks the kernel for pages of 2 MiB for memory of Go's heap that was not
// written yet. The kernel may ignore it.
func Advise(b []byte) {
	const page = 2 << 20
	if len(b) < page {
		return
	}
	// The range is rounded outwards to whole pages: the neighbouring memory belongs
	// to Go's heap too. The bounds are integers, because a pointer may not point
	// outside its allocation.
	p := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	before := p % page
	n := (before + uintptr(len(b)) + page - 1) / page * page
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, p-before, n, unix.MADV_HUGEPAGE)
	runtime.KeepAlive(b)
}
