package cpu

// tileF64 is TileF64 for the sets that have a kernel, and reports whether that is so.
func (s Set) tileF64(c []float64, ldc int, a, b []float64, k int) bool {
	if s == Generic {
		return false
	}
	if k > 0 {
		tileF64AVX2(&c[0], ldc, &a[0], &b[0], k)
	}
	return true
}

//go:noescape
func tileF64AVX2(c *float64, ldc int, a, b *float64, k int)
