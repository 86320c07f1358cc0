//go:build !amd64

package cpu

import "unsafe"

// Dots gives the products of four rows with one vector: four, because as many
// streams of loads are what a core keeps in flight. A row may stand in for
// another; a row's product does not depend on the other three.
// rows [4][n] of type t, x what Arrange made of n floats
func (s Set) Dots(t Type, out *[4]float32, rows *[4]unsafe.Pointer, x []float32, n int) {
	dotsGeneric(t, out, rows, x, n)
}
