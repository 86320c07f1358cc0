package cpu

// A tile of a matrix product is a sum of outer products: OuterRows numbers of a
// times OuterCols numbers of b, once for each k, all in registers.
const (
	OuterRows = 6
	OuterCols = 16
)

// outer is Outer in plain Go.
func outer(k int, a, b, c []float32, ldc int, add bool) {
	for i := range OuterRows {
		for j := 0; j < OuterCols; j += 4 {
			var s0, s1, s2, s3 float32
			for p := range k {
				x, y := a[p*OuterRows+i], b[p*OuterCols+j:p*OuterCols+j+4:p*OuterCols+j+4]
				s0 += x * y[0]
				s1 += x * y[1]
				s2 += x * y[2]
				s3 += x * y[3]
			}
			z := c[i*ldc+j : i*ldc+j+4 : i*ldc+j+4]
			if add {
				s0, s1, s2, s3 = s0+z[0], s1+z[1], s2+z[2], s3+z[3]
			}
			z[0], z[1], z[2], z[3] = s0, s1, s2, s3
		}
	}
}
