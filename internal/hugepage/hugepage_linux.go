// Package hugepage asks the system for large pages: reading memory at full speed
// wants few translations of addresses.
package hugepage

import (
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
	p := unsafe.Pointer(unsafe.SliceData(b))
	before := uintptr(p) % page
	n := (before + uintptr(len(b)) + page - 1) / page * page
	_ = unix.Madvise(unsafe.Slice((*byte)(unsafe.Add(p, -int(before))), n), unix.MADV_HUGEPAGE)
}
