package files

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Advise asks for pages of 2 MiB under memory of Go's heap that was not yet
// written. It is a wish.
func Advise(b []byte) {
	const page = 2 << 20
	if len(b) < page {
		return
	}
	// To the outer bounds: what else lies there is Go's heap too.
	// The bounds are numbers and no pointers, which may not point at what is not
	// allocated.
	p := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	before := p % page
	n := (before + uintptr(len(b)) + page - 1) / page * page
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, p-before, n, unix.MADV_HUGEPAGE)
	runtime.KeepAlive(b)
}
