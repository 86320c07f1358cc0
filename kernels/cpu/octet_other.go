//go:build !amd64

package cpu

// Sets other than Generic, which alone come here, are for amd64.
func octet(y, q *[64]float32, top, sum *[8]float32, z, k, v *float32, stride, T int, scale float32) {}
