package cpu

// Split: y0[i] = x[2i] and y1[i] = x[2i+1], or with add, y0[i] += x[2i] and so on.
// y0, y1 [n], x [2n]
func (s Set) Split(y0, y1, x []float32, add bool) {
	y1, x = y1[:len(y0)], x[:2*len(y0)]
	n := s.block(y0)
	if n > 0 {
		splitBlocks(y0[:n], y1[:n], x, add)
	}
	for i := n; i < len(y0); i++ {
		a, b := x[2*i], x[2*i+1]
		if add {
			a, b = y0[i]+a, y1[i]+b
		}
		y0[i], y1[i] = a, b
	}
}
