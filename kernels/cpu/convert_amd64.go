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

// narrowF16 rounds the first elements of x and returns how many.
func (s Set) narrowF16(dst []uint16, x []float32) int {
	n := len(x) &^ 15
	if s == Generic || n == 0 {
		return 0
	}
	narrowF16AVX2(&dst[0], &x[0], n)
	return n
}

// n is a multiple of 16, at least 16.
//
//go:noescape
func narrowF16AVX2(dst *uint16, x *float32, n int)

// widenBF16 widens the first elements of w and returns how many.
func (s Set) widenBF16(dst []float32, w []uint16) int {
	n := len(w) &^ 15
	if s == Generic || n == 0 {
		return 0
	}
	widenBF16AVX2(&dst[0], &w[0], n)
	return n
}

// widenF16 widens the first elements of w and returns how many.
func (s Set) widenF16(dst []float32, w []uint16) int {
	n := len(w) &^ 15
	if s == Generic || n == 0 {
		return 0
	}
	widenF16AVX2(&dst[0], &w[0], n)
	return n
}

// widenI8 scales the first elements of w and returns how many.
func (s Set) widenI8(dst []float32, w []int8, scale float32) int {
	n := len(w) &^ 15
	if s == Generic || n == 0 {
		return 0
	}
	widenI8AVX2(&dst[0], &w[0], scale, n)
	return n
}

// n is a multiple of 16, at least 16.
//
//go:noescape
func widenI8AVX2(dst *float32, w *int8, scale float32, n int)

// n is a multiple of 16, at least 16.
//
//go:noescape
func widenBF16AVX2(dst *float32, w *uint16, n int)

// n is a multiple of 16, at least 16.
//
//go:noescape
func widenF16AVX2(dst *float32, w *uint16, n int)
