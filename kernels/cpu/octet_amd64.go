package cpu

// octet is Octet for T > 0.
func octet(y, q *[64]float32, top, sum *[8]float32, z, k, v *float32, stride, T int, scale float32) {
	octetScores(z, top, q, k, stride, T, scale)
	octetExps(sum, z, top, T, scale)
	octetMix(y, z, v, stride, T)
}

//go:noescape
func octetScores(z *float32, top *[8]float32, q *[64]float32, k *float32, stride, t int, scale float32)

//go:noescape
func octetExps(sum *[8]float32, z *float32, top *[8]float32, t int, scale float32)

//go:noescape
func octetMix(y *[64]float32, z, v *float32, stride, t int)
