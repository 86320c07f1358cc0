package cpu

// deinterleave gives each step of x its even elements first.   dst, x [n], n a
// multiple of the step, n > 0
func (s Set) deinterleave(dst, x []float32) {
	if s == AVX512 {
		deinterleave32(&dst[0], &x[0], len(x))
	} else {
		deinterleave16(&dst[0], &x[0], len(x))
	}
}

//go:noescape
func deinterleave16(dst, x *float32, n int)

//go:noescape
func deinterleave32(dst, x *float32, n int)
