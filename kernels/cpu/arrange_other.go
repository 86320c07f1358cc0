//go:build !amd64

package cpu

// deinterleave gives each step of x its even elements first.   dst, x [n], n a
// multiple of the step, n > 0
func (s Set) deinterleave(dst, x []float32) {
	for step := s.step(); len(x) > 0; dst, x = dst[step:], x[step:] {
		arrangeBlock(dst[:step], x[:step], BF16)
	}
}
