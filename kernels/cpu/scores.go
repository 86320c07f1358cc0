package cpu

// Scores: z[t] = q . keys[t*stride : t*stride+len(q)], for each t.   z [T], q [n]
func (s Set) Scores(z, q, keys []float32, stride int) {
	n, T := len(q), len(z)
	if T == 0 || n == 0 {
		clear(z)
		return
	}
	_ = keys[(T-1)*stride+n-1]
	if s == Generic || T < 8 {
		for t := range z {
			z[t] = Dot(keys[t*stride:t*stride+n], q)
		}
		return
	}
	scoreBlocks(z[:T&^7], q, keys, stride)
	if T%8 > 0 { // the last eight once more: a score's bits do not depend on its place
		scoreBlocks(z[T-8:], q, keys[(T-8)*stride:], stride)
	}
}
