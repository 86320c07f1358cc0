package cpu

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// Tile is the GEMM micro-kernel: c = a b, or c += a b, for packed panels of the set's TileShape.
// It prefetches next meanwhile; next may be empty.
// c [rows, columns] with ldc floats from row to row; a [k, rows]; b [k, columns].
func (s Set) Tile(c []float32, ldc int, a, b []float32, k int, add bool, next []float32) {
	rows, columns := s.TileShape()
	_, _, _ = c[(rows-1)*ldc+columns-1], a[:k*rows], b[:k*columns]
	if k == 0 {
		if !add {
			for i := range rows {
				clear(c[i*ldc : i*ldc+columns])
			}
		}
		return
	}
	from, step := ahead(next, a, k)
	switch s {
	case AVX512:
		tileAVX512(&c[0], ldc, &a[0], &b[0], k, add, from, step)
	case AVX2:
		tileAVX2(&c[0], ldc, &a[0], &b[0], k, add, from, step)
	default:
		tileGeneric(c, ldc, a, b, k, add)
	}
}

// ahead is where a tile begins to ask for what lies in next, and how many bytes it goes
// on by for every four of its k steps. Where there is nothing, it is what the tile reads
// itself.
func ahead[T float32 | uint32](next, a []T, k int) (from unsafe.Pointer, step int) {
	if len(next) == 0 || k < 4 {
		return unsafe.Pointer(&a[0]), 0
	}
	return unsafe.Pointer(&next[0]), (4*len(next) + k/4 - 1) / (k / 4)
}

// tileAVX2 is Tile with 6 rows and 16 columns, k >= 1.
//
//go:noescape
func tileAVX2(c *float32, ldc int, a, b *float32, k int, add bool, next unsafe.Pointer, step int)

// tileAVX512 is Tile with 12 rows and 32 columns, k >= 1.
//
//go:noescape
func tileAVX512(c *float32, ldc int, a, b *float32, k int, add bool, next unsafe.Pointer, step int)

func (s Set) pairs() bool { return s == AVX512 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BF16 }

// TilePairs is Tile for panels of pairs, of the same shape: a sum is formed in the
// order of k, but the second of a pair comes before the first. Products of bfloat16
// are exact in float32; those of subnormal numbers may count as 0.
// c [rows, columns] with ldc floats from row to row; a [k, rows]; b [k, columns],
// k counting pairs; next as for Tile. The set is one with Pairs.
func (s Set) TilePairs(c []float32, ldc int, a, b []uint32, k int, add bool, next []uint32) {
	rows, columns := s.TileShape()
	_, _, _ = c[(rows-1)*ldc+columns-1], a[:k*rows], b[:k*columns]
	switch {
	case s == Generic:
		tilePairsGeneric(c, ldc, a, b, k, add)
	case k > 0:
		from, step := ahead(next, a, k)
		tilePairsBF16(&c[0], ldc, &a[0], &b[0], k, add, from, step)
	case !add:
		for i := range rows {
			clear(c[i*ldc : i*ldc+columns])
		}
	}
}

// tilePairsBF16 is TilePairs with 12 rows and 32 columns, k >= 1.
//
//go:noescape
func tilePairsBF16(c *float32, ldc int, a, b *uint32, k int, add bool, next unsafe.Pointer, step int)

// MultiplyAddPairs adds the two products of the pairs x and y n times to each of sums, from
// registers. There are more sums than instructions in flight, so that only the multiply units
// bound it. It measures their peak.
func MultiplyAddPairs(n int, x, y uint32, sums *[384]float32) {
	if AVX512.pairs() {
		multiplyAddPairs(n, x, y, sums)
		return
	}
	multiplyAddPairsGeneric(n, x, y, sums)
}

// multiplyAddPairs is MultiplyAddPairs with VDPBF16PS.
//
//go:noescape
func multiplyAddPairs(n int, x, y uint32, sums *[384]float32)
