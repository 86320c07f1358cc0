package cpu

import "unsafe"

// Tile computes c = a b, or c += a b, for panels of the set's TileShape. What lies in
// next is asked for meanwhile, none where it is empty.
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
