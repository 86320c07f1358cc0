package cpu

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

func (s Set) maxAbs(x []float32) uint32 {
	n := len(x) &^ 7
	if s == Generic || n == 0 {
		return maxAbsGeneric(x)
	}
	return max(maxAbsAVX2(&x[0], n), maxAbsGeneric(x[n:]))
}

func (s Set) toInt16(q []int16, x []float32, factor float32) {
	n := len(x) &^ 15
	if s == Generic || n == 0 {
		n = 0
	} else {
		toInt16AVX2(&q[0], &x[0], n, factor)
	}
	toInt16Generic(q[n:len(x)], x[n:], factor)
}

func (s Set) rescale(y, z, w []float32, add bool) (done int) {
	n := len(z) &^ 7
	if s == Generic || n == 0 {
		return 0
	}
	_ = y[n-1]
	rescaleAVX2(&y[0], &z[0], &w[0], n, add)
	return n
}

// packInt8Rows is PackInt8 for 8 rows, which leaves the other columns of dst alone.
func packInt8Rows(dst []float32, width int, w []int8, stride, k int) {
	_, _ = dst[(k/2-1)*width+7], w[7*stride+k-1]
	packInt8AVX2(&dst[0], width, &w[0], stride, k)
}

// TileInt8 is Tile for a product of int8 weights with 16-bit activations; a and b
// hold pairs of int16s, neighbours in the direction of k, where Tile's hold floats.
// c [rows, columns] with ldc floats from row to row; a [k, rows]; b [k, columns];
// scales [ceil(k/64), rows]; k counts pairs and is a multiple of 32.
func (s Set) TileInt8(c []float32, ldc int, a, b, scales []float32, k int, add bool) {
	rows, columns := s.TileShape()
	_, _, _, _ = c[(rows-1)*ldc+columns-1], a[:k*rows], b[:k*columns], scales[:(k+63)/64*rows]
	switch {
	case k == 0:
		for i := range rows {
			if !add {
				clear(c[i*ldc : i*ldc+columns])
			}
		}
	case s == Generic:
		tileInt8Generic(c, ldc, a, b, scales, k, add)
	case s == AVX2:
		tileInt8AVX2(&c[0], ldc, &a[0], &b[0], &scales[0], k, add)
	case cpu.X86.HasAVX512VNNI:
		tileInt8VNNI(&c[0], ldc, &a[0], &b[0], &scales[0], k, add)
	default:
		tileInt8AVX512(&c[0], ldc, &a[0], &b[0], &scales[0], k, add)
	}
}

// The tiles want k > 0, of AVX2 with 6 rows and 16 columns, of AVX-512 with 12 and
// 32. That of VNNI multiplies and adds in one instruction.

//go:noescape
func tileInt8AVX2(c *float32, ldc int, a, b, scales *float32, k int, add bool)

//go:noescape
func tileInt8AVX512(c *float32, ldc int, a, b, scales *float32, k int, add bool)

//go:noescape
func tileInt8VNNI(c *float32, ldc int, a, b, scales *float32, k int, add bool)

// dotsInt8AVX2 is DotRows for rows of int8, n a multiple of 64 and not 0.
//
//go:noescape
func dotsInt8AVX2(out *[4]float32, rows *[MaxStreams]unsafe.Pointer, x *int16, scales *float32, n, count, ahead int)

// maxAbsAVX2 is maxAbsGeneric for n a multiple of 8.
//
//go:noescape
func maxAbsAVX2(x *float32, n int) uint32

// toInt16AVX2 is toInt16Generic for n a multiple of 16.
//
//go:noescape
func toInt16AVX2(q *int16, x *float32, n int, factor float32)

// rescaleAVX2 is Rescale for n a multiple of 8.
//
//go:noescape
func rescaleAVX2(y, z, w *float32, n int, add bool)

//go:noescape
func packInt8AVX2(dst *float32, width int, w *int8, stride, k int)
