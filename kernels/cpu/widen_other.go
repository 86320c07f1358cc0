//go:build !amd64

package cpu

// widenBF16 widens the first elements of w and returns how many.
func (s Set) widenBF16(dst []float32, w []uint16) int { return 0 }

// widenF16 widens the first elements of w and returns how many.
func (s Set) widenF16(dst []float32, w []uint16) int { return 0 }

// widenI8 scales the first elements of w and returns how many.
func (s Set) widenI8(dst []float32, w []int8, scale float32) int { return 0 }
