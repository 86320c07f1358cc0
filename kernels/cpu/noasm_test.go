//go:build !amd64

package cpu

func otherTilesInt8(Set) []func(c []float32, ldc int, a, b, scales []float32, k int, add bool) {
	return nil
}
