package cpu

import kernel "mop/kernels/cpu"

// A GEMM is blocked by panelDepth elements of k and groupColumns columns: a panel of the
// left factor [panelDepth, rows of a tile] then stays in the L1 cache, and the panels of
// the right factor [panelDepth, groupColumns] stay in the L2 cache.
//
// An element of a product is the sum, in order, of the sums over each block of k. Its bits
// therefore depend neither on its position nor on the worker that computes it.
const (
	panelDepth   = 512
	groupColumns = 128
)

// A left factor of at most fewLeftPanels panels is multiplied by one panel of the right
// factor at a time, while that is in the L1 cache and the next block is prefetched: with
// so few rows, packing takes as long as multiplying. The order of the tiles changes no
// sum.
const fewLeftPanels = 8

// packedLeft is the left factor [m, k] of a product, packed for kernel.Tile: for each
// depth, panel after panel.
type packedLeft struct {
	data       []float32
	m, k       int
	rows       int // of a panel
	arithmetic arithmetic
	scales     []float32 // of int16s: [panels, groups, rows]
}

func newPackedLeft(set kernel.Set, s *[]float32, m, k int, a arithmetic) packedLeft {
	rows, _ := set.TileShape()
	l := packedLeft{m: m, k: k, rows: rows, arithmetic: a}
	n := l.panels() * rows * a.steps(k)
	if a == int16s {
		all := resizeScratch(s, n+l.panels()*rows*kernel.Int8Groups(k))
		l.data, l.scales = all[:n], all[n:]
		return l
	}
	l.data = resizeScratch(s, n)
	return l
}

func (l *packedLeft) panels() int { return (l.m + l.rows - 1) / l.rows }

// panel is panel i of the kk columns from k0 on.   [steps of kk, rows]
func (l *packedLeft) panel(i, k0, kk int) []float32 {
	n := l.rows * l.arithmetic.steps(kk)
	at := l.arithmetic.steps(k0)*l.panels()*l.rows + i*n
	return l.data[at : at+n]
}

// pack fills panels lo..hi-1 from a, which is float32.   a [m, k]
func (l *packedLeft) pack(set kernel.Set, a matrixView, lo, hi int) {
	if l.arithmetic == int16s {
		l.packInt16(set, a, lo, hi)
		return
	}
	for i := lo; i < hi; i++ {
		r0 := i * l.rows
		n := min(l.rows, l.m-r0)
		for k0 := 0; k0 < l.k; k0 += panelDepth {
			kk := min(panelDepth, l.k-k0)
			panel := l.panel(i, k0, kk)
			if l.arithmetic == bf16Pairs {
				packPairs(set, asPairs(panel), l.rows, a.at(r0, k0), n, kk)
				continue
			}
			if a.col == 1 {
				set.PackRows(panel, l.rows, a.f32[r0*a.row+k0:], a.row, n, kk)
			} else {
				kernel.PackColumns(panel, l.rows, a.f32[r0+k0*a.col:], a.col, n, kk)
			}
			if a.scale != 1 {
				for j := range panel {
					panel[j] *= a.scale
				}
			}
			if l.arithmetic == roundedBF16 {
				set.Round(panel)
			}
		}
	}
}

// slicePart is part i of x, of so many.
func slicePart(x []float32, i, parts int) []float32 {
	return x[len(x)*i/parts : len(x)*(i+1)/parts]
}

// rightPanels is a worker's packed part of a right factor.
type rightPanels struct {
	left   []float32 // of products that the worker computes alone
	packed []float32 // [groupColumns/columns][steps of panelDepth][columns]
	wide   []float32 // [columns, panelDepth + 16], stored rows as float32
	tile   []float32 // [rows, columns], for tiles that stick out
	sums   []float32 // [m, groupColumns], before rows of int8 weights are scaled
}

// pack packs the nn <= groupColumns columns of b [k, n] from j0 on, for the kk rows from
// k0 on.
func (p *rightPanels) pack(set kernel.Set, b matrixView, j0, nn, k0, kk int) {
	_, columns := set.TileShape()
	dst := resizeScratch(&p.packed, (groupColumns+columns)*panelDepth)
	for j := 0; j < nn; j += columns {
		w, panel := min(columns, nn-j), dst[j*kk:(j+columns)*kk]
		switch {
		case b.row == 1 && b.f32 != nil:
			set.PackRows(panel, columns, b.f32[k0+(j0+j)*b.col:], b.col, w, kk)
		case b.row == 1 && b.bf16 != nil:
			set.PackBF16(panel, columns, b.bf16[k0+(j0+j)*b.col:], b.col, w, kk)
		case b.row == 1 && b.f16 != nil:
			set.PackF16(panel, columns, b.f16[k0+(j0+j)*b.col:], b.col, w, kk)
		case b.row == 1:
			// A stride that is no power of two keeps the rows in different sets of
			// the first cache.
			const stride = panelDepth + 16
			wide := resizeScratch(&p.wide, columns*stride)
			for i := range w {
				b.widen(set, wide[i*stride:i*stride+kk], k0+(j0+j+i)*b.col)
			}
			set.PackRows(panel, columns, wide, stride, w, kk)
		case b.f32 != nil:
			kernel.PackColumns(panel, columns, b.f32[k0*b.row+j0+j:], b.row, w, kk)
		default:
			for i := range kk {
				row := panel[i*columns : (i+1)*columns]
				b.widen(set, row[:w], (k0+i)*b.row+j0+j)
				clear(row[w:])
			}
		}
		if b.scale != 1 {
			for i := range panel {
				panel[i] *= b.scale
			}
		}
	}
}

// multiply computes C (+)= A B for the panels i0..i1-1 of A and columns j0..j1-1
// of B. c is C's first element wanted, its row length ldc.   b [k, n]
func (p *rightPanels) multiply(set kernel.Set, c []float32, ldc int, a *packedLeft, i0, i1 int, b matrixView, j0, j1 int, add bool) {
	if a.arithmetic == int16s {
		p.multiplyInt8(set, c, ldc, a, i0, i1, b, j0, j1, add)
		return
	}
	rows, columns := set.TileShape()
	tile := resizeScratch(&p.tile, rows*columns)
	m := min(i1*rows, a.m) - i0*rows
	if a.k == 0 && !add {
		for i := range m {
			clear(c[i*ldc : i*ldc+j1-j0])
		}
	}
	few := i1-i0 <= fewLeftPanels
	for g := j0; g < j1; g += groupColumns {
		nn := min(groupColumns, j1-g)
		each := nn // columns packed at a time
		if few {
			each = columns
		}
		for k0 := 0; k0 < a.k; k0 += panelDepth {
			kk := min(panelDepth, a.k-k0)
			next := b.block(g, k0+panelDepth, a.k)
			if k0+panelDepth >= a.k {
				next = b.block(g+nn, 0, a.k)
			}
			steps := a.arithmetic.steps(kk)
			add := add || k0 > 0
			for s := 0; s < nn; s += each {
				end := min(s+each, nn)
				if few {
					next.prefetch(s/columns, (nn+columns-1)/columns)
				}
				if a.arithmetic == bf16Pairs {
					p.packBF16Pairs(set, b, g+s, end-s, k0, kk)
				} else {
					p.pack(set, b, g+s, end-s, k0, kk)
				}
				for i := i0; i < i1; i++ {
					if !few {
						next.prefetch(i-i0, i1-i0)
					}
					r0 := (i - i0) * rows
					panel, c := a.panel(i, k0, kk), c[r0*ldc+g-j0:]
					for j := s; j < end; j += columns {
						var near []float32 // of the next panel, a tile's share
						if i+1 < i1 {
							near = slicePart(a.panel(i+1, k0, kk), (j-s)/columns, (end-s+columns-1)/columns)
						}
						w, h, b := min(columns, nn-j), min(rows, m-r0), p.packed[(j-s)*steps:(j-s+columns)*steps]
						if w == columns && h == rows {
							a.arithmetic.multiplyTile(set, c[j:], ldc, panel, b, steps, add, near)
							continue
						}
						a.arithmetic.multiplyTile(set, tile, columns, panel, b, steps, false, near)
						for r := range h {
							to, from := c[r*ldc+j:r*ldc+j+w], tile[r*columns:r*columns+w]
							if !add {
								copy(to, from)
								continue
							}
							for x, v := range from {
								to[x] += v
							}
						}
					}
				}
			}
		}
	}
}

// product computes C (+)= A B on one worker.
// c [m, n] of row length ldc, a [m, k] float32, b [k, n]
func (p *rightPanels) product(set kernel.Set, c []float32, ldc, m, n, k int, a, b matrixView, add bool) {
	set = set.Narrow(n)
	l := newPackedLeft(set, &p.left, m, k, float32s)
	l.pack(set, a, 0, l.panels())
	p.multiply(set, c, ldc, &l, 0, l.panels(), b, 0, n, add)
}

// packLeft is a [m, k], float32, made by all workers a left factor for the given right
// ones. It lasts until the next call.
func (d *Device) packLeft(a matrixView, m, k int, right ...matrixView) *packedLeft {
	how := d.arithmetic(right...)
	if how == int16s && (a.col != 1 || a.scale != 1) {
		how = float32s
	}
	l := newPackedLeft(d.set, &d.shared[0], m, k, how)
	d.pool.run(l.panels(), 1, func(_, lo, hi int) { l.pack(d.set, a, lo, hi) })
	return &l
}

// shareColumns lets the workers share the columns of products with one left factor, in
// parts of at most groupColumns: part w of width ns[w] comes as do(worker, w, j0, j1, i0,
// i1), the columns j0..j1-1 for the left factor's panels i0..i1-1. Where there are
// few columns, the panels are shared as well.
func (d *Device) shareColumns(l *packedLeft, ns []int, do func(worker, which, j0, j1, i0, i1 int)) {
	_, columns := d.set.TileShape()
	total := 0
	for _, n := range ns {
		total += (n + columns - 1) / columns
	}
	if total == 0 || l.m == 0 {
		return
	}
	chunks := min((4*d.pool.threads+total-1)/total, l.panels())
	if d.pool.threads == 1 || total >= 4*d.pool.threads {
		chunks = 1
	}
	d.pool.run(total*chunks, 1, func(worker, lo, hi int) {
		first := 0 // panel of ns[which]
		for which, n := range ns {
			end := first + (n+columns-1)/columns
			for u := max(lo, first*chunks); u < min(hi, end*chunks); {
				at, i := u/chunks, u%chunks
				// Whole panels go together, up to a group of them; a panel that is
				// shared goes alone.
				whole, part := 1, min(chunks-i, hi-u)
				if chunks == 1 {
					whole = min(groupColumns/columns, hi-u, end-at)
					part = whole
				}
				j0 := (at - first) * columns
				do(worker, which, j0, min(j0+whole*columns, n), i*l.panels()/chunks, (i+part/whole)*l.panels()/chunks)
				u += part
			}
			first = end
		}
	})
}

// product computes C (+)= A B on all workers.
// c [m, n] of row length ldc, a [m, k] float32, b [k, n]
func (d *Device) product(c []float32, ldc, m, n, k int, a, b matrixView, add bool) {
	l := d.packLeft(a, m, k, b)
	d.shareColumns(l, []int{n}, func(worker, _, j0, j1, i0, i1 int) {
		d.workers[worker].panels.multiply(d.set, c[i0*l.rows*ldc+j0:], ldc, l, i0, i1, b, j0, j1, add)
	})
}
