//go:build !amd64

package cpu

// Sets other than Generic, which alone come here, are for amd64.

func maxBlocks(x []float32) float32                         { return 0 }
func sumBlocks(x []float32) float32                         { return 0 }
func sumSquaresBlocks(x []float32) float32                  { return 0 }
func sumAbsBlocks(x []float32) float64                      { return 0 }
func scaleMulBlocks(y, x []float32, f float32, w []float32) {}
func gateBlocks(y, g, e, u []float32)                       {}
func mixBlocks(y, p, v []float32, stride int)               {}
