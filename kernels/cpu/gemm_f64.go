package cpu

// TileF64Rows and TileF64Columns are the size of TileF64's tile.
const TileF64Rows, TileF64Columns = 4, 12

// TileF64 is a GEMM micro-kernel in float64: c += a b for packed panels. An element's sum is
// formed in the order of k and then added to c.
// c [4, 12] with ldc numbers from row to row; a [k, 4]; b [k, 12]
func (s Set) TileF64(c []float64, ldc int, a, b []float64, k int) {
	if k == 0 {
		return
	}
	_, _ = a[TileF64Rows*k-1], b[TileF64Columns*k-1]
	_ = c[(TileF64Rows-1)*ldc+TileF64Columns-1]
	if s.tileF64(c, ldc, a, b, k) {
		return
	}
	for i := range TileF64Rows {
		for j := range TileF64Columns {
			sum := 0.0
			for p := range k {
				sum += a[p*TileF64Rows+i] * b[p*TileF64Columns+j]
			}
			c[i*ldc+j] += sum
		}
	}
}

// HasTileF64 reports whether TileF64 has vector instructions in this set.
func (s Set) HasTileF64() bool { return s.tileF64(nil, 0, nil, nil, 0) }
