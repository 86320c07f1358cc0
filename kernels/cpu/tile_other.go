//go:build !amd64

package cpu

// Tile computes c = a b, or c += a b, for panels of the set's TileShape. What lies in
// next is asked for meanwhile, none where it is empty.
// c [rows, columns] with ldc floats from row to row; a [k, rows]; b [k, columns].
func (s Set) Tile(c []float32, ldc int, a, b []float32, k int, add bool, next []float32) {
	tileGeneric(c, ldc, a, b, k, add)
}
