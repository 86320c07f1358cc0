//go:build !amd64

package cpu

import (
	"runtime"
	"unsafe"
)

// best is the fastest set that this processor, and the system on it, can run.
func best() Set { return Generic }

// Prefetch starts loading rows of a matrix into the second-level cache and does not wait:
// the given number of bytes of each row, with rows stride bytes apart. Nothing is read, so p may
// point anywhere.
func Prefetch(p unsafe.Pointer, bytes, stride, rows int) {}

// Pause tells the processor n times that this loop waits, for some tens of cycles each
// time. The core's other thread can use its resources meanwhile.
func Pause(n int) { runtime.Gosched() }

// DotRows multiplies one vector with the first row of each of the type's streams, then with
// the rows that follow each of them in memory, and so on.
// out [count][t.Streams()], rows [t.Streams()][count*n] of type t, x what Arrange made
// of n floats
func (s Set) DotRows(t Type, out []float32, rows *[MaxStreams]unsafe.Pointer, x []float32, n int) {
	dotRowsGeneric(t, out, rows, x, n)
}

// VectorsAtOnce is how many vectors DotVectors takes at most for rows of n elements of the
// type; 1 where the set has no kernel for it.
func (s Set) VectorsAtOnce(t Type, n int) int { return 1 }

// DotVectors multiplies rows that follow one another in memory with v vectors, with the bits of
// DotRows.
// out [v][ld] for count rows, x [v][VectorStride(n)] as Arrange makes them
func (s Set) DotVectors(t Type, out []float32, ld int, rows unsafe.Pointer, count int, x []float32, v, n int, next uintptr, bytes int) {
	dotVectorsGeneric(t, out, ld, rows, count, x, v, n)
}

// queryScores is QueryScores; sets other than Generic, which alone come here, are for amd64.
func (s Set) queryScores(t Type, z []float32, ld int, keys unsafe.Pointer, count int, q []float32, v, n int, next uintptr, bytes int) {
}

// weightedSums is WeightedSums for the same sets.
func (s Set) weightedSums(t Type, y []float32, ldy int, p []float32, ldp int, values unsafe.Pointer, count, v, n int, next uintptr, bytes int) {
}

// deinterleave gives each step of x its even elements first.   dst, x [n], n a
// multiple of the step, n > 0
func (s Set) deinterleave(dst, x []float32) {
	for step := s.step(); len(x) > 0; dst, x = dst[step:], x[step:] {
		arrangeBlock(dst[:step], x[:step], BF16)
	}
}

// Tile is the GEMM micro-kernel: c = a b, or c += a b, for packed panels of the set's TileShape.
// It prefetches next meanwhile; next may be empty.
// c [rows, columns] with ldc floats from row to row; a [k, rows]; b [k, columns].
func (s Set) Tile(c []float32, ldc int, a, b []float32, k int, add bool, next []float32) {
	tileGeneric(c, ldc, a, b, k, add)
}

func (s Set) pairs() bool { return false }

// TilePairs is Tile for panels of pairs, of the same shape: a sum is formed in the
// order of k, but the second of a pair comes before the first. Products of bfloat16
// are exact in float32; those of subnormal numbers may count as 0.
// c [rows, columns] with ldc floats from row to row; a [k, rows]; b [k, columns],
// k counting pairs; next as for Tile. The set is one with Pairs.
func (s Set) TilePairs(c []float32, ldc int, a, b []uint32, k int, add bool, next []uint32) {
	tilePairsGeneric(c, ldc, a, b, k, add)
}

// MultiplyAddPairs adds the two products of the pairs x and y n times to each of sums. It
// measures the peak of processors that have an instruction for it.
func MultiplyAddPairs(n int, x, y uint32, sums *[384]float32) { multiplyAddPairsGeneric(n, x, y, sums) }

// transpose8 writes columns of 8 rows as rows of 8: dst[p*width+i] =
// src[i*stride+p] for i < 8 and p < k, k a multiple of 8.
func transpose8(dst []float32, width int, src []float32, stride, k int) {
	packScalar(dst, width, src, stride, 8, 8, 0, k)
}

// Sets other than Generic, which alone come here, are for amd64.

func packBF16(dst []float32, width int, src []uint16, stride, k, ahead int) {}
func packF16(dst []float32, width int, src []uint16, stride, k, ahead int)  {}

// Without Pairs these are not called.

func transposePairs(*uint32, int, *[pairRows]unsafe.Pointer, int, uint16, uint16, uint32) {}

func interleavePairs(*uint32, *uint16, int, int) {}

func (s Set) maxAbs(x []float32) uint32                      { return maxAbsGeneric(x) }
func (s Set) toInt16(q []int16, x []float32, factor float32) { toInt16Generic(q, x, factor) }
func (s Set) rescale(y, z, w []float32, add bool) (done int) { return 0 }

func packInt8Rows(dst []float32, width int, w []int8, stride, k int) {
	Generic.PackInt8(dst, width, w, stride, 8, k)
}

// TileInt8 is Tile for a product of int8 weights with 16-bit activations; a and b
// hold pairs of int16s, neighbours in the direction of k, where Tile's hold floats.
// c [rows, columns] with ldc floats from row to row; a [k, rows]; b [k, columns];
// scales [ceil(k/64), rows]; k counts pairs and is a multiple of 32.
func (s Set) TileInt8(c []float32, ldc int, a, b, scales []float32, k int, add bool) {
	tileInt8Generic(c, ldc, a, b, scales, k, add)
}

// Sets other than Generic, which alone come here, are for amd64.

func maxBlocks(x []float32) float32                         { return 0 }
func maxFiniteBlocks(x []float32) (float32, bool)           { return 0, true }
func sumBlocks(x []float32) float32                         { return 0 }
func sumSquaresBlocks(x []float32) float32                  { return 0 }
func sumAbsBlocks(x []float32) float64                      { return 0 }
func scaleMulBlocks(y, x []float32, f float32, w []float32) {}
func gateBlocks(y, g, e, u []float32)                       {}
func weightedSumBlocks(y, p, v []float32, stride int)       {}

// scoreBlocks is for sets other than Generic, which alone come here on amd64.
func scoreBlocks(z, q, keys []float32, stride int) {}

// Sets other than Generic, which alone come here, are for amd64.
func expScaledBlocks(y, x []float32, scale, shift float32) {}

// roundBF16 rounds the first elements of x and returns how many.
func (s Set) roundBF16(dst []uint16, x []float32) int { return 0 }

// narrowF16 rounds the first elements of x and returns how many.
func (s Set) narrowF16(dst []uint16, x []float32) int { return 0 }

// widenBF16 widens the first elements of w and returns how many.
func (s Set) widenBF16(dst []float32, w []uint16) int { return 0 }

// widenF16 widens the first elements of w and returns how many.
func (s Set) widenF16(dst []float32, w []uint16) int { return 0 }

// widenI8 scales the first elements of w and returns how many.
func (s Set) widenI8(dst []float32, w []int8, scale float32) int { return 0 }

// tileF64 is TileF64 for the sets that have a kernel: none here.
func (s Set) tileF64(c []float64, ldc int, a, b []float64, k int) bool { return false }
