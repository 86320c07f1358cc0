package cpu

import "unsafe"

// Fetch asks for rows of a matrix to be brought into the second cache, and does not
// wait for them: so many bytes of each, which lie stride bytes apart. Nothing is
// read: p may point anywhere.
func Fetch(p unsafe.Pointer, bytes, stride, rows int) {
	if bytes > 0 && rows > 0 {
		fetch(p, bytes, stride, rows)
	}
}

//go:noescape
func fetch(p unsafe.Pointer, bytes, stride, rows int)
