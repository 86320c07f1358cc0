package cpu

// The lengths below are multiples of eight, at least eight.

func maxBlocks(x []float32) float32 { return maxAVX2(&x[0], len(x)) }
func maxFiniteBlocks(x []float32) (top float32, finite bool) {
	return maxFiniteAVX2(&x[0], len(x))
}
func sumBlocks(x []float32) float32        { return sumAVX2(&x[0], len(x)) }
func sumSquaresBlocks(x []float32) float32 { return sumSquaresAVX2(&x[0], len(x)) }
func sumAbsBlocks(x []float32) float64     { return sumAbsAVX2(&x[0], len(x)) }
func scaleMulBlocks(y, x []float32, f float32, w []float32) {
	scaleMulAVX2(&y[0], &x[0], &w[0], f, len(x))
}

func gateBlocks(y, g, e, u []float32) { gateAVX2(&y[0], &g[0], &e[0], &u[0], len(y)) }

func weightedSumBlocks(y, p, v []float32, stride int) {
	_ = v[(len(p)-1)*stride+len(y)-1]
	weightedSumAVX2(&y[0], len(y), &p[0], len(p), &v[0], stride)
}

//go:noescape
func maxAVX2(x *float32, n int) float32

//go:noescape
func maxFiniteAVX2(x *float32, n int) (top float32, finite bool)

//go:noescape
func sumAVX2(x *float32, n int) float32

//go:noescape
func sumSquaresAVX2(x *float32, n int) float32

//go:noescape
func sumAbsAVX2(x *float32, n int) float64

//go:noescape
func scaleMulAVX2(y, x, w *float32, f float32, n int)

//go:noescape
func gateAVX2(y, z, e, u *float32, n int)

//go:noescape
func weightedSumAVX2(y *float32, n int, p *float32, t int, v *float32, stride int)

// scoreBlocks is Scores for a multiple of eight keys, at least eight.
func scoreBlocks(z, q, keys []float32, stride int) {
	var mask [8]int32 // of the last columns
	for i := range len(q) % 8 {
		mask[i] = -1
	}
	scoresAVX2(&z[0], len(z), &q[0], len(q), &keys[0], stride, &mask)
}

//go:noescape
func scoresAVX2(z *float32, t int, q *float32, n int, keys *float32, stride int, mask *[8]int32)
