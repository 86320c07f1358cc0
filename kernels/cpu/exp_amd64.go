package cpu

func expBlocks(y, x []float32, scale, shift float32) { expsFMA(len(x), &y[0], &x[0], scale, shift) }

//go:noescape
func expsFMA(n int, y, x *float32, scale, shift float32)
