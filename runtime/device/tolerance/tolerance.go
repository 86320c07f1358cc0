// Package tolerance computes how much results may differ because they were summed in
// another order or rounded in between. Tests that compare devices use it: from the types
// and the lengths of the sums it gives the largest difference that rounding explains.
package tolerance

import (
	"math"

	"mop/runtime/checkpoint"
)

// Unit is the relative rounding error of a 16-bit type: half the distance between
// neighbouring numbers.
func Unit(t checkpoint.DType) float64 {
	if t == checkpoint.F16 {
		return 0x1p-11
	}
	return 0x1p-8
}

// Sum is a kernel's. Values that it sums in float32 may differ from the exact sum by the
// rounding of terms added in any order; inputs that it rounds to 16 bits first may round
// the other way where the two norms differ in the last bit; what it stores in 16 bits is
// rounded once more.
type Sum struct {
	Magnitude float64 // sum of the terms' magnitudes
	Terms     int
	Largest   float64 // largest term that contains an input rounded on the way, 0 = none
	Stored    bool    // the result is 16-bit
}

// Allow is for a sum of y.
func (s Sum) Allow(y float64, t checkpoint.DType) float64 {
	e := (8 + math.Sqrt(float64(s.Terms))) * 0x1p-23 * s.Magnitude
	e += 4 * Unit(t) * s.Largest
	if s.Stored {
		e += Unit(t) * (math.Abs(y) + e)
	}
	return e + 1e-30
}

// model is a model's, relative: inner activations are rounded to 16 bits eight times a
// layer and twice at the end, errors that add up like a walk of as many steps.
func model(t checkpoint.DType, layers int) float64 {
	return Unit(t) * math.Sqrt(float64(8*layers+2))
}

// Logits is for the logits of a row with such a largest one: twice the walk, since all of
// many stay below it.
func Logits(t checkpoint.DType, layers int, largest float64) float64 {
	return 2 * model(t, layers) * largest
}

// Features is for what a vision tower or its projector makes, with such a largest number:
// its layers round as often as those of a language model.
func Features(t checkpoint.DType, layers int, largest float64) float64 {
	return Logits(t, layers, largest)
}

// Score is for a criterion's score x of a candidate: it is made of how far the logits are
// from the base's, and both are off.
func Score(t checkpoint.DType, layers int, x float64) float64 { return 2 * model(t, layers) * x }

// Mean is for a mean x over a number of tokens, whose errors are of either sign: AMP's scores,
// the loss.
func Mean(t checkpoint.DType, layers, tokens int, x float64) float64 {
	return model(t, layers) / math.Sqrt(float64(tokens)) * x
}

// Gradient is for a tensor's gradient as a whole, relative: every number that made it went
// through some 20 roundings a layer, which add up like a walk; gradients of keys and
// queries are differences of larger numbers. Adapters are multiplied in bfloat16 whatever
// the weights, trained parameters in 16 bits of float32, attention in tf32. PyTorch under
// autocast to bfloat16 is 2 % apart from the same golden numbers in the median and up
// to 5 %.
func Gradient(full bool, layers int) float64 {
	u := Unit(checkpoint.BF16)
	if full {
		u = 0x1p-12
	}
	return 4 * u * math.Sqrt(float64(20*layers))
}
