//go:build !amd64

package cpu

import "unsafe"

// DotsAlong is the products of one vector with the first row of each of the type's
// streams, then with the rows that follow each of them in memory, and so on.
// out [count][t.Streams(n)], rows [t.Streams(n)][count*n] of type t, x what Arrange made
// of n floats
func (s Set) DotsAlong(t Type, out []float32, rows *[MostStreams]unsafe.Pointer, x []float32, n int) {
	dotsAlongGeneric(t, out, rows, x, n)
}
