//go:build !amd64

package cpu

// Sets other than Generic, which alone come here, are for amd64.

func packBF16(dst []float32, width int, src []uint16, stride, k, ahead int) {}
func packF16(dst []float32, width int, src []uint16, stride, k, ahead int)  {}
