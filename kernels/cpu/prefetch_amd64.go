package cpu

import "unsafe"

// Prefetch asks for rows of a matrix to be brought into the second cache, and does not
// wait for them: so many bytes of each, which lie stride bytes apart. Nothing is
// read: p may point anywhere.
func Prefetch(p unsafe.Pointer, bytes, stride, rows int) {
	if bytes > 0 && rows > 0 {
		prefetch(p, bytes, stride, rows)
	}
}

//go:noescape
func prefetch(p unsafe.Pointer, bytes, stride, rows int)

// Pause tells the processor n times that this is a loop which waits, some tens of
// cycles each: it leaves the core's other thread and its power to others.
//
//go:noescape
func Pause(n int)
