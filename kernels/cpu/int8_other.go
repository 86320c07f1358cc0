//go:build !amd64

package cpu

func (s Set) most(x []float32) uint32                        { return mostGeneric(x) }
func (s Set) toInt16(q []int16, x []float32, factor float32) { toInt16Generic(q, x, factor) }
func (s Set) rescale(y, z, w []float32, add bool) (done int) { return 0 }

func packInt8Rows(dst []float32, width int, w []int8, stride, k int) {
	Generic.PackInt8(dst, width, w, stride, 8, k)
}

// TileInt8 is Tile for a product of int8 weights with 16-bit activations; a and b
// hold pairs of int16s, neighbours in the direction of k, where Tile's hold floats.
// c [rows, columns] with ldc floats from row to row; a [k, rows]; b [k, columns];
// scales [ceil(k/64), rows]; k counts pairs and is a multiple of 32.
func (s Set) TileInt8(c []float32, ldc int, a, b, scales []float32, k int, add bool) {
	tileInt8Generic(c, ldc, a, b, scales, k, add)
}
