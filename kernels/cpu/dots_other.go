//go:build !amd64

package cpu

import "unsafe"

// DotsAlong is Dots for four rows, then for those that follow each of them in memory,
// and so on.   out [count][4], rows [4][count*n] of type t
func (s Set) DotsAlong(t Type, out [][4]float32, rows *[4]unsafe.Pointer, x []float32, n int) {
	dotsAlongGeneric(t, out, rows, x, n)
}
