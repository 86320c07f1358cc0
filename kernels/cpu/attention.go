package cpu

import "unsafe"

// QueryScores are the products of v queries with each of count keys of n elements that follow one
// another in memory; a 16-bit key has the bits of the same one in float32. Meanwhile it prefetches
// as many bytes from the address next on; nothing is read.
// z [v][ld]; keys [count][n]; q [v][n]; n a multiple of 16, v from 1 to 4. Where count is less
// than MinKeys, ld is at least MinKeys, and as many keys are read. Where v is 1, there is memory
// for a second query and its scores.
func (s Set) QueryScores(t Type, z []float32, ld int, keys unsafe.Pointer, count int, q []float32, v, n int, next uintptr, bytes int) {
	if s == Generic {
		scoresGeneric(t, z, ld, keys, count, q, v, n)
		return
	}
	s.queryScores(t, z, ld, keys, count, q, v, n, next, bytes)
}

// MinKeys is how many keys QueryScores reads at least.
const MinKeys = 6

// WeightedSums are the sums of count values of n elements, which follow one another in memory,
// under each of v lists of weights: y_h = sum_t p_h[t] v[t].
// y [v][ldy], p [v][ldp], values [count][n]; n a multiple of 16, v from 1 to 4; next as for
// QueryScores
func (s Set) WeightedSums(t Type, y []float32, ldy int, p []float32, ldp int, values unsafe.Pointer, count, v, n int, next uintptr, bytes int) {
	if s == Generic {
		weightedSumsGeneric(t, y, ldy, p, ldp, values, count, v, n)
		return
	}
	s.weightedSums(t, y, ldy, p, ldp, values, count, v, n, next, bytes)
}

// element is element i of an array of the type.
func (t Type) element(p unsafe.Pointer, i int) float32 {
	p = unsafe.Add(p, i*t.Size())
	switch t {
	case F16:
		return FromF16(*(*uint16)(p))
	case BF16:
		return FromBF16(*(*uint16)(p))
	}
	return *(*float32)(p)
}

// scoresGeneric is QueryScores in plain Go.
func scoresGeneric(t Type, z []float32, ld int, keys unsafe.Pointer, count int, q []float32, v, n int) {
	for i := range count {
		for h := range v {
			var sum float32
			for j, x := range q[h*n : (h+1)*n] {
				sum += x * t.element(keys, i*n+j)
			}
			z[h*ld+i] = sum
		}
	}
}

// weightedSumsGeneric is WeightedSums in plain Go.
func weightedSumsGeneric(t Type, y []float32, ldy int, p []float32, ldp int, values unsafe.Pointer, count, v, n int) {
	for h := range v {
		row := y[h*ldy : h*ldy+n]
		clear(row)
		for i, f := range p[h*ldp : h*ldp+count] {
			for j := range row {
				row[j] += f * t.element(values, i*n+j)
			}
		}
	}
}
