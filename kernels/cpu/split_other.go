//go:build !amd64

package cpu

// Sets other than Generic, which alone come here, are for amd64.
func splitBlocks(y0, y1, x []float32, add bool) {}
