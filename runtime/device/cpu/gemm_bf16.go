package cpu

import (
	"unsafe"

	kernel "mop/kernels/cpu"
)

// arithmetic says what a product multiplies; its sums are float32 in any case.
type arithmetic uint8

const (
	float32s    arithmetic = iota
	bf16Pairs              // bfloat16, two of k at a time
	roundedBF16            // bfloat16 in float32, where the set has no kernel for pairs
	int16s                 // int8 weights and activations of 16 bits: see int8.go
)

// arithmetic is what an operation with the given right factors multiplies:
// integers if all of them are, bfloat16 if all of them want it.
func (d *Device) arithmetic(right ...matrixView) arithmetic {
	whole, round := true, true
	for _, b := range right {
		whole = whole && b.i8 != nil && b.row == 1
		round = round && b.round
	}
	switch {
	case whole:
		return int16s
	case !round:
		return float32s
	}
	if d.set.Pairs() {
		return bf16Pairs
	}
	return roundedBF16
}

// steps is how many steps of a tile k columns are.
func (a arithmetic) steps(k int) int {
	switch a {
	case bf16Pairs:
		return (k + 1) / 2
	case int16s:
		return kernel.Int8Row(k) / 2
	}
	return k
}

// multiplyTile is kernel.Tile or kernel.TilePairs.
func (a arithmetic) multiplyTile(set kernel.Set, c []float32, ldc int, x, y []float32, k int, add bool, next []float32) {
	if a == bf16Pairs {
		set.TilePairs(c, ldc, asPairs(x), asPairs(y), k, add, asPairs(next))
	} else {
		set.Tile(c, ldc, x, y, k, add, next)
	}
}

// asPairs views scratch memory as pairs.
func asPairs(x []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

// packPairs rounds rows of a, float32, to a panel of a left factor.
// dst [(k+1)/2, width], a [rows, k]
func packPairs(set kernel.Set, dst []uint32, width int, a matrixView, rows, k int) {
	const stride = panelDepth + 32 // rows in different sets of the first cache
	var narrow [kernel.MaxTileRows * stride]uint16
	var wide [panelDepth]float32
	for i := range rows {
		row := wide[:k]
		if a.col == 1 && a.scale == 1 {
			row = a.f32[i*a.row : i*a.row+k]
		} else {
			for p := range row {
				row[p] = a.f32[i*a.row+p*a.col] * a.scale
			}
		}
		set.RoundBF16(narrow[i*stride:i*stride+k], row)
	}
	set.PackPairs(dst, width, narrow[:], stride, rows, k)
}

// packBF16Pairs is right for a bfloat16 factor, whose scale is 1.
func (p *rightPanels) packBF16Pairs(set kernel.Set, b matrixView, j0, nn, k0, kk int) {
	_, columns := set.TileShape()
	steps := bf16Pairs.steps(kk)
	dst := asPairs(resizeScratch(&p.packed, (groupColumns+columns)*bf16Pairs.steps(panelDepth)))
	for j := 0; j < nn; j += columns {
		w, panel := min(columns, nn-j), dst[j*steps:(j+columns)*steps]
		at := k0*b.row + (j0+j)*b.col
		if b.row == 1 {
			set.PackPairs(panel, columns, b.bf16[at:], b.col, w, kk)
		} else {
			set.PackPairColumns(panel, columns, b.bf16[at:], b.row, w, kk)
		}
	}
}
