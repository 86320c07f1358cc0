//go:build !amd64

package cpu

// Exps: y[i] = exp(x[i]*scale - shift), see Exp32; y may be x.   x, y [n]
func Exps(y, x []float32, scale, shift float32) { exps(y[:len(x)], x, scale, shift) }
