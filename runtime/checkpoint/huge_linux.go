package checkpoint

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePages asks the system to back memory that was not yet written with pages of
// 2 MiB, so that reading it meets few translations. It is a wish.
func hugePages(b []byte) {
	const page = 2 << 20
	if len(b) < page {
		return
	}
	// To the outer bounds: what else lies there is Go's heap too.
	p := unsafe.Pointer(unsafe.SliceData(b))
	before := uintptr(p) % page
	n := (before + uintptr(len(b)) + page - 1) / page * page
	_ = unix.Madvise(unsafe.Slice((*byte)(unsafe.Add(p, -int(before))), n), unix.MADV_HUGEPAGE)
}
