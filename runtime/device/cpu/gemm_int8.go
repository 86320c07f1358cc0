package cpu

import kernel "mop/kernels/cpu"

// packInt16 is pack for activations that are multiplied by int8 weights: a's rows are contiguous.
func (l *packedLeft) packInt16(set kernel.Set, a matrixView, lo, hi int) {
	const stride = panelDepth/2 + 16 // rows in different sets of the first cache
	var wide [kernel.MaxTileRows * stride]float32
	var scales [panelDepth / kernel.Int8Group]float32
	groups := kernel.Int8Groups(l.k)
	for i := lo; i < hi; i++ {
		r0 := i * l.rows
		n := min(l.rows, l.m-r0)
		for k0 := 0; k0 < l.k; k0 += panelDepth {
			kk := min(panelDepth, l.k-k0)
			steps := l.arithmetic.steps(kk)
			to := l.scales[(i*groups+k0/kernel.Int8Group)*l.rows:]
			for r := range l.rows {
				clear(scales[:])
				if r < n {
					at := (r0+r)*a.row + k0
					set.RoundInt16(kernel.Int16s(wide[r*stride:r*stride+steps]), scales[:], a.f32[at:at+kk])
				}
				for g := range kernel.Int8Groups(kk) {
					to[g*l.rows+r] = scales[g]
				}
			}
			set.PackRows(l.panel(i, k0, kk), l.rows, wide[:], stride, n, steps)
		}
	}
}

// packInt8 is right for int8 weights, which become int16s here.
func (p *rightPanels) packInt8(set kernel.Set, b matrixView, j0, nn, k0, kk int) {
	_, columns := set.TileShape()
	steps := int16s.steps(kk)
	dst := resizeScratch(&p.packed, (groupColumns+columns)*panelDepth)
	for j := 0; j < nn; j += columns {
		at := b.base + k0 + (j0+j)*b.col
		set.PackInt8(dst[j*steps:(j+columns)*steps], columns, b.i8.data[at:], b.col, min(columns, nn-j), 2*steps)
	}
}

// multiplyInt8 is multiply for a left factor of int16s and int8 weights b. Sums are
// formed apart from c, over all of k, and scaled when they are complete.
func (p *rightPanels) multiplyInt8(set kernel.Set, c []float32, ldc int, a *packedLeft, i0, i1 int, b matrixView, j0, j1 int, add bool) {
	rows, columns := set.TileShape()
	groups := kernel.Int8Groups(a.k)
	sums := resizeScratch(&p.sums, (i1-i0)*rows*groupColumns)
	for g := j0; g < j1; g += groupColumns {
		nn := min(groupColumns, j1-g)
		for k0 := 0; k0 < a.k; k0 += panelDepth {
			kk := min(panelDepth, a.k-k0)
			steps := int16s.steps(kk)
			p.packInt8(set, b, g, nn, k0, kk)
			for i := i0; i < i1; i++ {
				scales := a.scales[(i*groups+k0/kernel.Int8Group)*rows:]
				for j := 0; j < nn; j += columns {
					set.TileInt8(sums[(i-i0)*rows*groupColumns+j:], groupColumns, a.panel(i, k0, kk), p.packed[j*steps:(j+columns)*steps], scales, steps, k0 > 0)
				}
			}
		}
		for i := range min(i1*rows, a.m) - i0*rows {
			at := i*ldc + g - j0
			set.Rescale(c[at:at+nn], sums[i*groupColumns:i*groupColumns+nn], b.i8.scales[g:g+nn], add)
		}
	}
}
