package cpu

import kernel "mop/kernels/cpu"

// operand views a matrix of stored or computed numbers: element (i, j) lies at
// i*row + j*col, one of the two strides being 1. Exactly one slice is set; scale multiplies float32 ones.
type operand struct {
	f32       []float32
	f16, bf16 []uint16
	row, col  int
	scale     float32
}

// rows views a row-major matrix of c columns.
func rows(x []float32, c int) operand { return operand{f32: x, row: c, col: 1, scale: 1} }

func (w *weight) operand() operand {
	c := w.shape[len(w.shape)-1]
	return operand{f32: w.f32, f16: w.f16, bf16: w.bf16, row: c, col: 1, scale: 1}
}

// t is the transpose.
func (o operand) t() operand {
	o.row, o.col = o.col, o.row
	return o
}

func (o operand) times(s float32) operand {
	o.scale *= s
	return o
}

// from starts at element (i, j).
func (o operand) from(i, j int) operand {
	at := i*o.row + j*o.col
	switch {
	case o.f32 != nil:
		o.f32 = o.f32[at:]
	case o.f16 != nil:
		o.f16 = o.f16[at:]
	case o.bf16 != nil:
		o.bf16 = o.bf16[at:]
	}
	return o
}

// Blocks of a product: a panel of A [blockK, blockM] stays in the second-level
// cache, one of B [blockK, blockN] in the third.
const (
	blockM = 16 * kernel.OuterRows
	blockN = 32 * kernel.OuterCols
	blockK = 256
)

// panels is a worker's packed operands.
type panels struct {
	a, b []float32 // [blockM/6][blockK][6], [blockN/16][blockK][16]
	tile []float32 // [6, 16], of tiles that stick out
	line []float32 // [blockK], a row made float32
}

func newPanels() *panels {
	return &panels{make([]float32, blockM*blockK), make([]float32, blockN*blockK), make([]float32, kernel.OuterRows*kernel.OuterCols), make([]float32, blockK)}
}

// product computes C (+)= A B on one worker; the order of each element's sum is
// fixed by k alone.   c [m, n] of row length ldc, a [m, k], b [k, n]
func (p *panels) product(c []float32, ldc, m, n, k int, a, b operand, add bool) {
	if k == 0 {
		for i := range m {
			if !add {
				clear(c[i*ldc : i*ldc+n])
			}
		}
		return
	}
	for n0 := 0; n0 < n; n0 += blockN {
		nn := min(blockN, n-n0)
		for k0 := 0; k0 < k; k0 += blockK {
			kk := min(blockK, k-k0)
			p.pack(p.b, b.from(k0, n0).t(), nn, kk, kernel.OuterCols)
			for m0 := 0; m0 < m; m0 += blockM {
				mm := min(blockM, m-m0)
				p.pack(p.a, a.from(m0, k0), mm, kk, kernel.OuterRows)
				p.block(c[m0*ldc+n0:], ldc, mm, nn, kk, add || k0 > 0)
			}
		}
	}
}

// block multiplies the packed panels.
func (p *panels) block(c []float32, ldc, m, n, k int, add bool) {
	const R, C = kernel.OuterRows, kernel.OuterCols
	for j := 0; j < n; j += C {
		b := p.b[j*k : (j+C)*k]
		for i := 0; i < m; i += R {
			a := p.a[i*k : (i+R)*k]
			if i+R <= m && j+C <= n {
				kernel.Outer(k, a, b, c[i*ldc+j:], ldc, add)
				continue
			}
			kernel.Outer(k, a, b, p.tile, C, false)
			for r := range min(R, m-i) {
				to, from := c[(i+r)*ldc+j:(i+r)*ldc+min(j+C, n)], p.tile[r*C:]
				for x := range to {
					if add {
						to[x] += from[x]
					} else {
						to[x] = from[x]
					}
				}
			}
		}
	}
}

// pack lays the first n rows of k columns out in panels of width rows, k fastest
// but for the row within the panel; rows that are missing are zero.
func (p *panels) pack(dst []float32, o operand, n, k, width int) {
	for i := 0; i < n; i += width {
		panel, w := dst[i*k:(i+width)*k], min(width, n-i)
		if w < width {
			clear(panel)
		}
		if o.row == 1 {
			for c := range k {
				o.widen(panel[c*width:c*width+w], i+c*o.col)
			}
		} else if o.col == 1 {
			for r := range w {
				interleave(panel[r:], o.stretch(p.line[:k], (i+r)*o.row), width)
			}
		}
		if o.scale != 1 {
			for c := range panel {
				panel[c] *= o.scale
			}
		}
	}
}

// widen puts the stored numbers from at on into dst.
func (o *operand) widen(dst []float32, at int) {
	switch {
	case o.f32 != nil:
		copy(dst, o.f32[at:at+len(dst)])
	case o.f16 != nil:
		kernel.WidenF16(dst, o.f16[at:at+len(dst)])
	default:
		kernel.WidenBF16(dst, o.bf16[at:at+len(dst)])
	}
}

// stretch is the stored numbers from at on, in tmp unless they are float32.
func (o *operand) stretch(tmp []float32, at int) []float32 {
	if o.f32 != nil {
		return o.f32[at : at+len(tmp)]
	}
	o.widen(tmp, at)
	return tmp
}

// interleave puts src into every width-th element of dst.
func interleave(dst, src []float32, width int) {
	at := 0
	for _, v := range src {
		dst[at] = v
		at += width
	}
}

// product computes C (+)= A B on all workers, cut along its longer side.
func (d *Device) product(c []float32, ldc, m, n, k int, a, b operand, add bool) {
	if m == 0 || n == 0 {
		return
	}
	if n >= m {
		d.pool.run(n, kernel.OuterCols, func(worker, lo, hi int) {
			d.panels(worker).product(c[lo:], ldc, m, hi-lo, k, a, b.from(0, lo), add)
		})
		return
	}
	d.pool.run(m, kernel.OuterRows, func(worker, lo, hi int) {
		d.panels(worker).product(c[lo*ldc:], ldc, hi-lo, n, k, a.from(lo, 0), b, add)
	})
}

// panels is a worker's own, made when it first needs them.
func (d *Device) panels(worker int) *panels {
	if d.train.panels[worker] == nil {
		d.train.panels[worker] = newPanels()
	}
	return d.train.panels[worker]
}
