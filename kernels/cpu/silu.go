package cpu

// SiluMul: y = silu(g) u, silu(z) = z/(1+exp(-z)).   y, g, u [n]; y may be g or u
func (s Set) SiluMul(y, g, u []float32) {
	var e [64]float32
	for len(g) > 0 {
		n := min(len(g), len(e))
		s.Exps(e[:n], g[:n], -1, 0)
		done := s.block(g[:n])
		if done > 0 {
			gateBlocks(y[:done], g[:done], e[:done], u[:done])
		}
		for i := done; i < n; i++ {
			y[i] = g[i] / (1 + e[i]) * u[i]
		}
		y, g, u = y[n:], g[n:], u[n:]
	}
}
