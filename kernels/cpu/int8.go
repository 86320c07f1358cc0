package cpu

import (
	"math"
	"unsafe"
)

// An int8 weight meets activations of 16 bits: groups of Int8Group of them, each
// with a scale of its own. With q the weights and x the activations, both integers,
// a row's product is
//
//	sum over groups g, in order, of scale[g] * float32(sum_j q[j] x[j])
//
// Sums within a group are exact, whatever their order, and the rest is float32, a
// product and then a sum: every set has the same bits, in DotRows and in TileInt8. Bytes
// instead of 16 bits would multiply no faster with AVX2, where they need a detour for
// their signs, and twice as fast with AVX512-VNNI; but they lose more than the
// weights' rounding does (bench/results/int8.md).

// Int8Group: no sum of so many products leaves an int32, 127*32767*128 < 2^31, and
// a number far larger than the rest coarsens only its own group.
const Int8Group = 128

// Int8Row is how long a row of n int8 weights is in memory, in elements. Zeros follow
// the row to a multiple of 64, so that it begins where a cache line does and kernels
// see no rest.
func Int8Row(n int) int { return (n + 63) / 64 * 64 }

// Int8Groups is how many groups n activations make.
func Int8Groups(n int) int { return (n + Int8Group - 1) / Int8Group }

// RoundInt16 rounds each group of x to multiples of the scale that it gets, whose
// largest is 32767 of them; numbers below 2^-100 may count as 0. Where one is not
// finite, the group's scale is NaN. Zeros follow in q.
// q [Int8Row(n)], scales [Int8Groups(n)], x [n]
func (s Set) RoundInt16(q []int16, scales, x []float32) {
	clear(q[len(x):Int8Row(len(x))])
	for g := range Int8Groups(len(x)) {
		from := g * Int8Group
		part := x[from:min(from+Int8Group, len(x))]
		to := q[from : from+len(part)]
		most := math.Float32frombits(s.maxAbs(part))
		switch {
		case most < 0x1p-100:
			scales[g] = 0
			clear(to)
		case most-most != 0:
			scales[g] = float32(math.NaN())
			clear(to)
		default:
			scales[g] = most / 32767
			s.toInt16(to, part, 32767/most)
		}
	}
}

// maxAbsGeneric is the largest magnitude of x as bits, in whose order a NaN is larger
// than all numbers.
func maxAbsGeneric(x []float32) (most uint32) {
	for _, v := range x {
		most = max(most, math.Float32bits(v)&^(1<<31))
	}
	return most
}

// toInt16Generic is x times a factor, to the nearest, the even one of two.
// q, x [n]
func toInt16Generic(q []int16, x []float32, factor float32) {
	for i, v := range x {
		q[i] = int16(math.RoundToEven(float64(v * factor)))
	}
}

// arrangeInt8 is Arrange for int8 rows: int16s, then the scales.
// dst [Arranged(n)], x [n]
func (s Set) arrangeInt8(dst, x []float32) {
	q, scales := int8Arranged(dst, len(x))
	s.RoundInt16(q, scales, x)
}

// int8Arranged are the parts of what arrangeInt8 makes of n floats.
// q [Int8Row(n)], scales [Int8Groups(n)]
func int8Arranged(x []float32, n int) (q []int16, scales []float32) {
	words := Int8Row(n) / 2
	return Int16s(x[:words]), x[words : words+Int8Groups(n)]
}

// Int16s views memory for float32s as twice as many int16s.
func Int16s(x []float32) []int16 {
	return unsafe.Slice((*int16)(unsafe.Pointer(unsafe.SliceData(x))), 2*len(x))
}

// dotInt8 is one of DotRows's products, for a row of int8 without its own scale.
// w, x [n], scales [Int8Groups(n)]
func dotInt8(w []int8, x []int16, scales []float32) (sum float32) {
	for _, scale := range scales {
		n := min(Int8Group, len(w))
		var part int32
		for i, q := range w[:n] {
			part += int32(q) * int32(x[i])
		}
		sum += float32(scale * float32(part))
		w, x = w[n:], x[n:]
	}
	return sum
}

// PackInt8 is PackRows for int8 weights, which become int16s, two of them in the place
// of a float: dst's row p holds elements 2p and 2p+1 of each row of w.
// dst [k/2, width], w [rows, stride], rows <= width, k a multiple of 16
func (s Set) PackInt8(dst []float32, width int, w []int8, stride, rows, k int) {
	done := 0 // rows
	if s != Generic && k > 0 {
		for ; done+8 <= rows; done += 8 {
			packInt8Rows(dst[done:], width, w[done*stride:], stride, k)
		}
	}
	q := Int16s(dst[:k/2*width])
	for i := done; i < width; i++ {
		for p := range k / 2 {
			at, a, b := (p*width+i)*2, int8(0), int8(0)
			if i < rows {
				a, b = w[i*stride+2*p], w[i*stride+2*p+1]
			}
			q[at], q[at+1] = int16(a), int16(b)
		}
	}
}

// tileInt8Generic is TileInt8 in plain Go.
func tileInt8Generic(c []float32, ldc int, a, b, scales []float32, k int, add bool) {
	x, w := Int16s(a), Int16s(b)
	for i := range 4 {
		for j := range 4 {
			y := &c[i*ldc+j]
			if !add {
				*y = 0
			}
			for g, from := 0, 0; from < k; g, from = g+1, from+Int8Group/2 {
				var part int32
				for p := from; p < min(from+Int8Group/2, k); p++ {
					part += int32(x[(p*4+i)*2])*int32(w[(p*4+j)*2]) + int32(x[(p*4+i)*2+1])*int32(w[(p*4+j)*2+1])
				}
				*y += float32(scales[g*4+i] * float32(part))
			}
		}
	}
}

// Rescale computes y = z*w, or y += z*w.   y, z, w [n]
func (s Set) Rescale(y, z, w []float32, add bool) {
	n := s.rescale(y, z, w[:len(z)], add)
	y, z, w = y[n:len(z)], z[n:], w[n:len(z)]
	if add {
		for i, v := range z {
			y[i] += float32(v * w[i])
		}
		return
	}
	for i, v := range z {
		y[i] = v * w[i]
	}
}
