package cpu

import "golang.org/x/sys/cpu"

// Exps: y[i] = exp(x[i]*scale - shift), see Exp32; y may be x.   x, y [n]
func Exps(y, x []float32, scale, shift float32) {
	y = y[:len(x)]
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		exps(y, x, scale, shift)
		return
	}
	n := len(x) / expBlock * expBlock
	if n > 0 {
		expsFMA(n, &y[0], &x[0], scale, shift)
	}
	if n < len(x) {
		expTail(y[n:], x[n:], scale, shift, expsFMA)
	}
}

//go:noescape
func expsFMA(n int, y, x *float32, scale, shift float32)
