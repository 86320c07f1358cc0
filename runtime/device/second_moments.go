package device

// SecondMoments is a device that sums products of activations.
type SecondMoments interface {
	// SecondMoments: sums[i*I+j] += sum_n x[n, i] x[n, j], over the first n rows.
	//                                        sums [I, I], x [n, I]
	SecondMoments(sums []float64, x Buffer, n int)
}
