// Package cpu holds the host's kernels: dot products, GEMM micro-kernels, packing, reductions and
// conversions. They take slices of numbers, with weights in their stored type, and give float32.
// They know nothing about models.
//
// Each operation has a plain Go version, and assembly for the sets that have it. Every sum
// has one order, which depends on the set and the length only.
package cpu

import "unsafe"

// Dot is sum_i w[i] x[i].   w, x [n]
func Dot(w, x []float32) float32 {
	x = x[:len(w)]
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(w); i += 4 {
		a, b := w[i:i+4:i+4], x[i:i+4:i+4]
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
	}
	return sumLanes(w[i:], x[i:], s0, s1, s2, s3)
}

// sumLanes adds a tail of at most three products, each to its lane, and then the lanes.
func sumLanes(w, x []float32, s0, s1, s2, s3 float32) float32 {
	if len(w) > 0 {
		s0 += w[0] * x[0]
	}
	if len(w) > 1 {
		s1 += w[1] * x[1]
	}
	if len(w) > 2 {
		s2 += w[2] * x[2]
	}
	return (s0 + s1) + (s2 + s3)
}

// Axpy adds a*x to y.   x, y [n]
func Axpy(y []float32, a float32, x []float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] += a * v
	}
}

// Type is how a weight is stored.
type Type uint8

const (
	F32 Type = iota
	F16
	BF16
	I8 // int8, to be scaled; its rows are Int8Row elements long
)

// Size is the bytes of an element.
func (t Type) Size() int { return [...]int{4, 2, 2, 1}[t] }

// RowBytes is how far rows of n elements are apart in memory.
func (t Type) RowBytes(n int) int {
	if t == I8 {
		return Int8Row(n)
	}
	return n * t.Size()
}

// Streams is how many rows of the type DotRows takes at a time, each from a place of its own:
// as many as a core reads fastest. More rows share what is read of the vector and of the call.
func (t Type) Streams() int {
	if t == F16 || t == BF16 {
		return MaxStreams
	}
	return 4
}

// MaxStreams is what Streams does not exceed.
const MaxStreams = 6

// maxVectors is what VectorsAtOnce does not exceed.
const maxVectors = 4

// productsAtOnce is how many products DotVectors computes at a time.
const productsAtOnce = 12

// RowsAtOnce is how many rows DotVectors multiplies with v vectors at a time.
func RowsAtOnce(v int) int { return productsAtOnce / v }

// Arranged is the length of the vector that Arrange makes of n floats.
func Arranged(n int) int { return (n+31)/32*32 + 32 }

// nearVectors is how near, in bytes, the places of two of four vectors in their pages may be. Four
// loads a step from nearer places take up to twice as long on a Zen 3: with 2,000 elements, the
// kernel reached 41 % of the multiply-add peak without any distance, and 84 to 94 % with at
// least this one (bench/results/decode-cpu.md).
const nearVectors = 512

// VectorStride is how many floats the vectors of DotVectors are apart, at least Arranged(n).
func VectorStride(n int) int {
	const page = 4096
	stride := Arranged(n)
	near := func(vectors int) bool {
		place := vectors * stride * 4 % page
		return min(place, page-place) < nearVectors
	}
	for near(1) || near(2) || near(3) {
		stride += 32
	}
	return stride
}

// Arrange lays out a vector for DotRows with rows of the given type, in blocks of as many
// floats as DotRows takes per step. A bfloat16 becomes a float32 by a shift, so
// that a load of 16-bit pairs gives even and odd elements apart: so lie theirs.
// dst [Arranged(n)], x [n]
func (s Set) Arrange(dst, x []float32, t Type) {
	if t == I8 {
		s.arrangeInt8(dst, x)
		return
	}
	n, step := len(x), s.step()
	full := n / step * step
	if s == Generic || n < step {
		copy(dst, x)
		return
	}
	if t == BF16 && full > 0 {
		s.deinterleave(dst[:full], x[:full])
	} else {
		copy(dst, x[:full])
	}
	rest := n - full
	if rest == 0 {
		return
	}
	var last [16]float32
	tail := dst[full:]
	// Rows are read up to their end, again with elements that were had already:
	// those meet a zero here, and are zeroed themselves by the mask that follows,
	// lest an infinity make that a NaN.
	copy(last[step-rest:], x[full:])
	arrangeBlock(tail[:step], last[:step], t)
	mask := unsafe.Slice((*byte)(unsafe.Pointer(&tail[step])), step*4)
	zeros := (step - rest) * t.Size()
	for i := range mask {
		mask[i] = 0xff
		if i < zeros {
			mask[i] = 0
		}
	}
}

// step is how many elements of a row DotRows takes at a time.
func (s Set) step() int {
	if s == Generic {
		return 1
	}
	return 16
}

func arrangeBlock(dst, x []float32, t Type) {
	if t != BF16 {
		copy(dst, x)
		return
	}
	half := len(dst) / 2
	for i := range half {
		dst[i], dst[half+i] = x[2*i], x[2*i+1]
	}
}

// dotRowsGeneric is DotRows in plain Go.
func dotRowsGeneric(t Type, out []float32, rows *[MaxStreams]unsafe.Pointer, x []float32, n int) {
	streams := t.Streams()
	for i := range out {
		k, along := i%streams, i/streams*t.RowBytes(n)
		if k > 0 && rows[k] == rows[k-1] {
			out[i] = out[i-1]
			continue
		}
		out[i] = dotGeneric(t, unsafe.Add(rows[k], along), x, n)
	}
}

// dotGeneric is the product of a row of type t with what Arrange made of n floats.
func dotGeneric(t Type, row unsafe.Pointer, x []float32, n int) float32 {
	switch t {
	case F16:
		return dotF16(unsafe.Slice((*uint16)(row), n), x[:n])
	case BF16:
		return dotBF16(unsafe.Slice((*uint16)(row), n), x[:n])
	case I8:
		q, scales := int8Arranged(x, n)
		return dotInt8(unsafe.Slice((*int8)(row), n), q, scales)
	}
	return Dot(unsafe.Slice((*float32)(row), n), x[:n])
}

// dotBF16 is Dot for bfloat16 weights.
func dotBF16(w []uint16, x []float32) float32 {
	var s [4]float32
	for ; len(w) >= 4; w, x = w[4:], x[4:] {
		for i := range s {
			s[i] += FromBF16(w[i]) * x[i]
		}
	}
	var tail [3]float32
	for i, b := range w {
		tail[i] = FromBF16(b)
	}
	return sumLanes(tail[:len(w)], x, s[0], s[1], s[2], s[3])
}

// dotF16 is Dot for float16 weights.
func dotF16(w []uint16, x []float32) float32 {
	var s [4]float32
	for ; len(w) >= 4; w, x = w[4:], x[4:] {
		for i := range s {
			s[i] += FromF16(w[i]) * x[i]
		}
	}
	var tail [3]float32
	for i, h := range w {
		tail[i] = FromF16(h)
	}
	return sumLanes(tail[:len(w)], x, s[0], s[1], s[2], s[3])
}

// dotVectorsGeneric is DotVectors in plain Go.
func dotVectorsGeneric(t Type, out []float32, ld int, rows unsafe.Pointer, count int, x []float32, v, n int) {
	for i := range v {
		for r := range count {
			out[i*ld+r] = dotGeneric(t, unsafe.Add(rows, r*t.RowBytes(n)), x[i*VectorStride(n):], n)
		}
	}
}
