package cpu

// roundBF16 rounds the first elements of x and returns how many.
func (s Set) roundBF16(dst []uint16, x []float32) int {
	n := len(x) &^ 15
	if s == Generic || n == 0 {
		return 0
	}
	roundBF16AVX2(&dst[0], &x[0], n)
	return n
}

// n is a multiple of 16, at least 16.
//
//go:noescape
func roundBF16AVX2(dst *uint16, x *float32, n int)
