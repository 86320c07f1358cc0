package cpu

import "unsafe"

// Prefetch starts loading rows of a matrix into the second-level cache and does not wait:
// the given number of bytes of each row, with rows stride bytes apart. Nothing is read, so p may
// point anywhere.
func Prefetch(p unsafe.Pointer, bytes, stride, rows int) {
	if bytes > 0 && rows > 0 {
		prefetch(p, bytes, stride, rows)
	}
}

//go:noescape
func prefetch(p unsafe.Pointer, bytes, stride, rows int)

// Pause tells the processor n times that this loop waits, for some tens of cycles each
// time. The core's other thread can use its resources meanwhile.
//
//go:noescape
func Pause(n int)
