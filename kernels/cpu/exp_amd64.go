package cpu

func expScaledBlocks(y, x []float32, scale, shift float32) {
	expScaledFMA(len(x), &y[0], &x[0], scale, shift)
}

//go:noescape
func expScaledFMA(n int, y, x *float32, scale, shift float32)
