package cpu

// A pair is two bfloat16 numbers that are neighbours in the direction of k, the
// first in the low half: what VDPBF16PS multiplies at a time.

// Pairs says whether the set multiplies pairs by a kernel of its own. The others
// multiply what Round leaves in float32.
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

// addPairsGeneric is AddPairs in plain Go.
func addPairsGeneric(n int, x, y uint32, sums *[384]float32) {
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
