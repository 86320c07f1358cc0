package device

import (
	"math"

	"mop/runtime/checkpoint"
)

// Int8 is a Device that can hold matrices at 8 bits a weight.
//
// Element (i, j) of such a matrix is q[i][j] * scale[i]: q an integer of
// -127..127, never -128, so that its negative is one too, and one float32 scale for
// each row. Rows and not smaller groups: a group of 32 takes a sixteenth more bytes
// for a fifth to two fifths less of a loss that is small already (bench/results/int8.md). How a
// device pads rows is its own affair; the integers and scales are those of
// RoundInt8, and so the same on every device. Checkpoints stay as they are: a
// matrix is rounded where it is placed.
type Int8 interface {
	// PlaceInt8 makes a weight of a matrix, rounded. A vector is placed as it is.
	PlaceInt8(t checkpoint.Tensor) (Weight, error)
}

// QuantizeRow rounds a row to multiples of the scale that it returns, the row's
// largest magnitude being 127 of them. The scale is 0 where all of x is, and not
// finite where one of x is not.   q, x [n]
func QuantizeRow(q []int8, x []float32) (scale float32) {
	bits := uint32(0) // of the largest magnitude; a NaN's are larger than any number's
	for _, v := range x {
		bits = max(bits, math.Float32bits(v)&^(1<<31))
	}
	most := math.Float32frombits(bits)
	if bad := most - most; bad != 0 || most == 0 {
		clear(q)
		return bad
	}
	// A row of numbers near the smallest still has a scale that is none of 0.
	scale = max(most/127, math.SmallestNonzeroFloat32)
	inverse := 1 / float64(scale)
	for i, v := range x {
		q[i] = int8(math.RoundToEven(float64(v) * inverse))
	}
	return scale
}
