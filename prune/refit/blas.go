package refit

import (
	"runtime"
	"sync"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/blas/gonum"

	kernel "mop/kernels/cpu"
)

// Nearly all time of a refit is spent in products of matrices: in those of its own, and in
// those that gonum's Cholesky decomposition and triangular systems consist of. gonum's BLAS
// computes a product by sums of rows in memory, at a few percent of the processor's peak. So
// gonum calls this one in this process.
func init() {
	if set, err := kernel.Choose("auto"); err == nil && set.HasTileF64() {
		blas64.Use(tiledBLAS{set: set})
	}
}

// tiledBLAS is gonum's BLAS with its products of large matrices by the CPU's micro-kernel, and
// with triangular systems and products that are divided until products are what is left.
type tiledBLAS struct {
	gonum.Implementation
	set kernel.Set
}

// Sizes of the parts of a product: depthBlock rows of b, packed; rowBlock rows of a, packed by
// each goroutine. Triangles of up to triangleBlock rows are not divided. Products with a b of
// fewer than smallProduct elements are left to gonum; that does not depend on the rows of a, so
// that the bits of a row of c do not depend on the other rows.
const (
	depthBlock    = 256
	rowBlock      = 64
	triangleBlock = 64
	smallProduct  = 32 * 32
)

// Dgemm is c = alpha op(a) op(b) + beta c.   op(a) [m, k], op(b) [k, n], c [m, n]
func (t tiledBLAS) Dgemm(tA, tB blas.Transpose, m, n, k int, alpha float64, a []float64, lda int, b []float64, ldb int, beta float64, c []float64, ldc int) {
	if n*k < smallProduct || m == 0 || alpha == 0 {
		t.Implementation.Dgemm(tA, tB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
		return
	}
	for i := range m {
		scale(c[i*ldc:i*ldc+n], beta)
	}
	panels := (n + kernel.TileF64Columns - 1) / kernel.TileF64Columns
	packed := make([]float64, panels*kernel.TileF64Columns*min(k, depthBlock))
	for k0 := 0; k0 < k; k0 += depthBlock {
		depth := min(depthBlock, k-k0)
		part := func(x []float64, ld int, trans bool) []float64 { // from row k0 of op(b), column k0 of op(a)
			if trans {
				return x[k0:]
			}
			return x[k0*ld:]
		}
		pack(packed, part(b, ldb, tB != blas.NoTrans), ldb, tB != blas.NoTrans, depth, n, kernel.TileF64Columns, 1)
		aPart := part(a, lda, tA == blas.NoTrans)
		parallel((m+rowBlock-1)/rowBlock, func() func(block int) {
			left := make([]float64, rowBlock*depth)
			return func(block int) {
				i0 := block * rowBlock
				rows := min(rowBlock, m-i0)
				from := aPart
				if tA == blas.NoTrans {
					from = from[i0*lda:]
				} else {
					from = from[i0:]
				}
				pack(left, from, lda, tA == blas.NoTrans, depth, rows, kernel.TileF64Rows, alpha)
				t.tiles(c[i0*ldc:], ldc, left, packed, rows, n, depth)
			}
		})
	}
}

// tiles adds the product of packed panels to c [rows, n].
func (t tiledBLAS) tiles(c []float64, ldc int, left, right []float64, rows, n, depth int) {
	const R, C = kernel.TileF64Rows, kernel.TileF64Columns
	var edge [R * C]float64
	for j := 0; j < n; j += C {
		b := right[j*depth:]
		for i := 0; i < rows; i += R {
			a := left[i*depth:]
			if i+R <= rows && j+C <= n {
				t.set.TileF64(c[i*ldc+j:], ldc, a, b, depth)
				continue
			}
			clear(edge[:])
			t.set.TileF64(edge[:], C, a, b, depth)
			for y := range min(R, rows-i) {
				for x := range min(C, n-j) {
					c[(i+y)*ldc+j+x] += edge[y*C+x]
				}
			}
		}
	}
}

// pack arranges a matrix of the given depth and width in panels of so many columns, with zeros
// after the last column: dst [width/columns][depth][columns]. transposed says that a row of x
// is a column of the matrix.
func pack(dst, x []float64, ld int, transposed bool, depth, width, columns int, factor float64) {
	for j := 0; j < width; j += columns {
		count := min(columns, width-j)
		for p := range depth {
			out := dst[p*columns : (p+1)*columns]
			if transposed {
				for i := range count {
					out[i] = factor * x[(j+i)*ld+p]
				}
			} else {
				copy(out, x[p*ld+j:p*ld+j+count])
				scale(out[:count], factor)
			}
			clear(out[count:])
		}
		dst = dst[depth*columns:]
	}
}

// Dtrsm solves op(a) x = alpha b, or x op(a) = alpha b, for a triangular a. x replaces b.
// b [m, n]; a [m, m] on the left, [n, n] on the right
func (t tiledBLAS) Dtrsm(side blas.Side, uplo blas.Uplo, tA blas.Transpose, diag blas.Diag, m, n int, alpha float64, a []float64, lda int, b []float64, ldb int) {
	size := m
	if side == blas.Right {
		size = n
	}
	if size <= triangleBlock {
		t.Implementation.Dtrsm(side, uplo, tA, diag, m, n, alpha, a, lda, b, ldb)
		return
	}
	d := divide(side, uplo, tA, size, a, lda, b, ldb)
	solve := func(alpha float64, x half) {
		m, n := x.part(side, m, n)
		t.Dtrsm(side, uplo, tA, diag, m, n, alpha, x.a, lda, x.b, ldb)
	}
	solve(alpha, d.independent)
	t.addBetween(d, side, tA, m, n, -1, lda, alpha, ldb)
	solve(1, d.dependent)
}

// Dtrmm is b = alpha op(a) b, or b = alpha b op(a), for a triangular a.
func (t tiledBLAS) Dtrmm(side blas.Side, uplo blas.Uplo, tA blas.Transpose, diag blas.Diag, m, n int, alpha float64, a []float64, lda int, b []float64, ldb int) {
	size := m
	if side == blas.Right {
		size = n
	}
	if size <= triangleBlock {
		t.Implementation.Dtrmm(side, uplo, tA, diag, m, n, alpha, a, lda, b, ldb)
		return
	}
	d := divide(side, uplo, tA, size, a, lda, b, ldb)
	multiply := func(x half) {
		m, n := x.part(side, m, n)
		t.Dtrmm(side, uplo, tA, diag, m, n, alpha, x.a, lda, x.b, ldb)
	}
	// The dependent half is computed while the other one is still what it was.
	multiply(d.dependent)
	t.addBetween(d, side, tA, m, n, alpha, lda, 1, ldb)
	multiply(d.independent)
}

// addBetween multiplies the dependent half of b with beta and adds alpha times the product of the
// independent half and the square between the triangles.
func (t tiledBLAS) addBetween(d division, side blas.Side, tA blas.Transpose, m, n int, alpha float64, lda int, beta float64, ldb int) {
	from, to := d.independent, d.dependent
	if side == blas.Left {
		t.Dgemm(tA, blas.NoTrans, to.size, n, from.size, alpha, d.between, lda, from.b, ldb, beta, to.b, ldb)
	} else {
		t.Dgemm(blas.NoTrans, tA, m, to.size, from.size, alpha, from.b, ldb, d.between, lda, beta, to.b, ldb)
	}
}

// half is one of the two triangles on the diagonal of a triangular matrix, and the part of
// the other factor that it belongs to.
type half struct {
	size int
	a, b []float64
}

// part is the size of the part of b [m, n].
func (x half) part(side blas.Side, m, n int) (int, int) {
	if side == blas.Left {
		return x.size, n
	}
	return m, x.size
}

// division of a triangular matrix in two triangles and the square between them. The dependent
// half of the product is the one that needs the other half too.
type division struct {
	independent, dependent half
	between                []float64
}

// divide divides a triangular matrix, and b, in halves.
func divide(side blas.Side, uplo blas.Uplo, tA blas.Transpose, size int, a []float64, lda int, b []float64, ldb int) division {
	n := (size/2 + triangleBlock - 1) / triangleBlock * triangleBlock
	if n >= size {
		n = size / 2
	}
	step := ldb
	if side == blas.Right {
		step = 1
	}
	upper, lower := half{n, a, b}, half{size - n, a[n*lda+n:], b[n*step:]}
	d := division{between: a[n:]}
	if uplo == blas.Lower {
		d.between = a[n*lda:]
	}
	// op(a) is lower triangular where a is lower and not transposed, or upper and transposed.
	// Then the lower half of op(a) x has the upper half of x in it, and the left half of x op(a)
	// the right half of x.
	if (uplo == blas.Lower) == (tA == blas.NoTrans) == (side == blas.Left) {
		d.independent, d.dependent = upper, lower
	} else {
		d.independent, d.dependent = lower, upper
	}
	return d
}

// scale multiplies x with a factor; what was there does not matter where it is 0.
func scale(x []float64, factor float64) {
	switch factor {
	case 0:
		clear(x)
	case 1:
	default:
		for i := range x {
			x[i] *= factor
		}
	}
}

// parallel calls what start returns for 0 to n-1, by goroutines that call start once each.
func parallel(n int, start func() func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers == 1 {
		do := start()
		for i := range n {
			do(i)
		}
		return
	}
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			do := start()
			for i := w; i < n; i += workers {
				do(i)
			}
		})
	}
	wait.Wait()
}
