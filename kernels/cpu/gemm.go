package cpu

// MaxTileRows is the most rows of a TileShape.
const MaxTileRows = 12

// TileShape is the size of a register tile of the matrix product: rows of the
// left panel, columns of the right one.
//
// Panels are packed: left [k, rows], right [k, columns], so that the step from
// k to k+1 is one contiguous read of each. A tile's element is formed by one
// multiply-add after the other in the order of k, from zero, whatever the tile's
// place: its bits depend on its row and its column alone.
func (s Set) TileShape() (rows, columns int) {
	switch s {
	case AVX512:
		return MaxTileRows, 32
	case AVX2:
		return 6, 16
	}
	return 4, 4
}

// Narrow is the set whose tile a product of so few columns fills best; its bits are
// those of s.
func (s Set) Narrow(columns int) Set {
	if s == AVX512 && columns <= 16 {
		return AVX2
	}
	return s
}

// tileGeneric is Tile in plain Go.
func tileGeneric(c []float32, ldc int, a, b []float32, k int, add bool) {
	for i := range 4 {
		var s0, s1, s2, s3 float32
		for p := range k {
			x, w := a[p*4+i], b[p*4:p*4+4:p*4+4]
			s0 += x * w[0]
			s1 += x * w[1]
			s2 += x * w[2]
			s3 += x * w[3]
		}
		y := c[i*ldc : i*ldc+4 : i*ldc+4]
		if add {
			s0, s1, s2, s3 = y[0]+s0, y[1]+s1, y[2]+s2, y[3]+s3
		}
		y[0], y[1], y[2], y[3] = s0, s1, s2, s3
	}
}

// A pair is two bfloat16 numbers that are neighbours in the direction of k, the
// first in the low half: what VDPBF16PS multiplies at a time.

// Pairs reports whether the set has a kernel for pairs. The other sets multiply what Round
// leaves, in float32.
func (s Set) Pairs() bool { return s == Generic || s.pairs() }

// tilePairsGeneric is TilePairs in plain Go.
func tilePairsGeneric(c []float32, ldc int, a, b []uint32, k int, add bool) {
	for i := range 4 {
		for j := range 4 {
			var sum float32
			for p := range k {
				x, w := a[p*4+i], b[p*4+j]
				sum += odd(x) * odd(w)
				sum += even(x) * even(w)
			}
			if add {
				sum += c[i*ldc+j]
			}
			c[i*ldc+j] = sum
		}
	}
}

// multiplyAddPairsGeneric is MultiplyAddPairs in plain Go.
func multiplyAddPairsGeneric(n int, x, y uint32, sums *[384]float32) {
	for i := range sums {
		var sum float32
		for range n {
			sum += odd(x) * odd(y)
			sum += even(x) * even(y)
		}
		sums[i] = sum
	}
}

// even and odd widen the first and the second of a pair.
func even(pair uint32) float32 { return FromBF16(uint16(pair)) }
func odd(pair uint32) float32  { return FromBF16(uint16(pair >> 16)) }
