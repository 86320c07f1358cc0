package cpu

import "golang.org/x/sys/cpu"

// otherTilesInt8 are kernels for TileInt8 that this processor could run and does not.
func otherTilesInt8(s Set) []func(c []float32, ldc int, a, b, scales []float32, k int, add bool) {
	if s != AVX512 || !cpu.X86.HasAVX512VNNI {
		return nil
	}
	return []func([]float32, int, []float32, []float32, []float32, int, bool){func(c []float32, ldc int, a, b, scales []float32, k int, add bool) {
		if k == 0 {
			s.TileInt8(c, ldc, a, b, scales, k, add)
			return
		}
		tileInt8AVX512(&c[0], ldc, &a[0], &b[0], &scales[0], k, add)
	}}
}
