package cpu

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
