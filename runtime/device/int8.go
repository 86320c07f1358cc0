package device

import "math"

// QuantizeRow rounds a row of a matrix to multiples of the scale that it returns: x[i] is
// about q[i]*scale, and the row's largest magnitude becomes 127. q is never -128, so
// that the negative of every q is an int8 too. The scale is 0 where all of x is 0, and
// not finite where an element of x is not.   q, x [n]
func QuantizeRow(q []int8, x []float32) (scale float32) {
	bits := uint32(0) // of the largest magnitude; a NaN's are larger than any number's
	for _, v := range x {
		bits = max(bits, math.Float32bits(v)&^(1<<31))
	}
	largest := math.Float32frombits(bits)
	if invalid := largest - largest; invalid != 0 || largest == 0 {
		clear(q)
		return invalid
	}
	// A row of the smallest denormal numbers still needs a scale above 0.
	scale = max(largest/127, math.SmallestNonzeroFloat32)
	inverse := 1 / float64(scale)
	for i, v := range x {
		q[i] = int8(math.RoundToEven(float64(v) * inverse))
	}
	return scale
}
