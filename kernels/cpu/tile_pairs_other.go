//go:build !amd64

package cpu

func (s Set) pairs() bool { return false }

// TilePairs is Tile for panels of pairs, of the same shape: a sum is formed in the
// order of k, but the second of a pair comes before the first. Products of bfloat16
// are exact in float32; those of subnormal numbers may count as 0.
// c [rows, columns] with ldc floats from row to row; a [k, rows]; b [k, columns],
// k counting pairs; next as for Tile. The set is one with Pairs.
func (s Set) TilePairs(c []float32, ldc int, a, b []uint32, k int, add bool, next []uint32) {
	tilePairsGeneric(c, ldc, a, b, k, add)
}
