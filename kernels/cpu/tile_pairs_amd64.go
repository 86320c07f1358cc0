package cpu

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

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
