package cpu

// The length is a multiple of eight, at least eight.
func splitBlocks(y0, y1, x []float32, add bool) { splitAVX2(&y0[0], &y1[0], &x[0], len(y0), add) }

//go:noescape
func splitAVX2(y0, y1, x *float32, n int, add bool)
