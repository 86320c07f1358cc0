package cpu

// Tile computes c = a b, or c += a b, for panels of the set's TileShape.
// c [rows, columns] with ldc floats from row to row; a [k, rows]; b [k, columns].
func (s Set) Tile(c []float32, ldc int, a, b []float32, k int, add bool) {
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
	switch s {
	case AVX512:
		tileAVX512(&c[0], ldc, &a[0], &b[0], k, add)
	case AVX2:
		tileAVX2(&c[0], ldc, &a[0], &b[0], k, add)
	default:
		tileGeneric(c, ldc, a, b, k, add)
	}
}

// tileAVX2 is Tile with 6 rows and 16 columns, k >= 1.
//
//go:noescape
func tileAVX2(c *float32, ldc int, a, b *float32, k int, add bool)

// tileAVX512 is Tile with 12 rows and 32 columns, k >= 1.
//
//go:noescape
func tileAVX512(c *float32, ldc int, a, b *float32, k int, add bool)
