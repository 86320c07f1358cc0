package cpu

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// Every activation is within half a step of what it was, the largest exactly; all
// sets round alike, and set all that a kernel reads.
func TestRoundInt16(t *testing.T) {
	for _, n := range widths {
		rng := rand.New(rand.NewPCG(uint64(n), 1))
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(rng.NormFloat64() * math.Exp(3*rng.NormFloat64()))
		}
		var first []int16
		for _, s := range sets() {
			q, scales := make([]int16, Int8Row(n)+1), make([]float32, Int8Groups(n))
			for i := range q {
				q[i] = 99
			}
			s.RoundInt16(q, scales, x)
			if first == nil {
				first = q
			}
			if !slices.Equal(q, first) {
				t.Fatalf("%v n %d: other integers than the generic set", s, n)
			}
			for i, v := range q {
				switch {
				case i == Int8Row(n):
					if v != 99 {
						t.Fatalf("%v n %d: wrote beyond the row", s, n)
					}
				case i >= n:
					if v != 0 {
						t.Fatalf("%v n %d: element %d behind the row is %d", s, n, i, v)
					}
				default:
					step := float64(scales[i/Int8Group])
					if e := math.Abs(float64(v)*step - float64(x[i])); e > step*0.501 {
						t.Fatalf("%v n %d: element %d: want %v, got %d steps of %v", s, n, i, x[i], v, step)
					}
				}
			}
			for g := range scales {
				part := q[g*Int8Group : min(g*Int8Group+Int8Group, n)]
				if max(slices.Max(part), -slices.Min(part)) != 32767 {
					t.Fatalf("%v n %d: group %d does not use its range", s, n, g)
				}
			}
		}
	}
}

func TestRoundInt16Edges(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, s := range sets() {
		for _, n := range []int{1, 7, 8, 16, 33, 128} {
			for at := range n {
				for _, c := range []struct {
					v     float32
					q     int16
					scale float32
				}{
					{0, 0, 0}, {inf, 0, nan}, {-inf, 0, nan}, {nan, 0, nan}, {math.SmallestNonzeroFloat32, 0, 0},
					{-math.MaxFloat32, -32767, math.MaxFloat32 / 32767}, {0x1p-99, 32767, 0x1p-99 / 32767},
				} {
					x, q, scales := make([]float32, n), make([]int16, Int8Row(n)), []float32{7}
					x[at] = c.v
					s.RoundInt16(q, scales, x)
					if q[at] != c.q || scales[0] != c.scale && (c.scale == c.scale || scales[0] == scales[0]) {
						t.Fatalf("%v: %v at %d of %d: want %d and %v, got %d and %v", s, c.v, at, n, c.q, c.scale, q[at], scales[0])
					}
				}
			}
		}
	}
}

// int8s are weights as a kernel takes them, zeros behind them.
func int8s(rng *rand.Rand, n int) []int8 {
	w := make([]int8, Int8Row(n))
	for i := range n {
		w[i] = int8(rng.IntN(255) - 127)
	}
	return w
}

// exact is the formula in int8.go over big integers, rounded as it says.
func exact(w []int8, q []int16, scales []float32) (sum float32) {
	for g, scale := range scales {
		var part big.Int
		for i := g * Int8Group; i < min((g+1)*Int8Group, len(w)); i++ {
			part.Add(&part, big.NewInt(int64(w[i])*int64(q[i])))
		}
		f, _ := new(big.Float).SetInt(&part).Float32()
		sum += float32(scale * f)
	}
	return sum
}

// DotRows and TileInt8 equal the formula exactly, on every set, at the largest sums
// as well.
func TestInt8Products(t *testing.T) {
	for _, n := range widths {
		rng := rand.New(rand.NewPCG(uint64(n), 2))
		for _, extreme := range []bool{false, true} {
			rows, columns := 12, 32
			xs, ws := make([][]float32, rows), make([][]int8, columns)
			for i := range xs {
				xs[i] = make([]float32, n)
				for j := range xs[i] {
					xs[i][j] = float32(rng.NormFloat64())
					if extreme {
						xs[i][j] = float32(1 - 2*(i&1))
					}
				}
			}
			for i := range ws {
				ws[i] = int8s(rng, n)
				for j := range n {
					if extreme {
						ws[i][j] = int8(127 - 254*(i&1))
					}
				}
			}
			for _, s := range sets() {
				testInt8Products(t, s, xs, ws, n)
			}
		}
	}
}

func testInt8Products(t *testing.T, s Set, xs [][]float32, ws [][]int8, n int) {
	t.Helper()
	var arranged [][]float32
	for _, x := range xs {
		a := make([]float32, Arranged(n))
		for i := range a {
			a[i] = float32(math.NaN())
		}
		s.Arrange(a, x, I8)
		arranged = append(arranged, a)
	}
	want := func(i, j int) float32 {
		q, scales := int8Arranged(arranged[i], n)
		return exact(ws[j], q, scales)
	}
	p := func(j int) unsafe.Pointer { return unsafe.Pointer(&ws[j][0]) }
	var got [4]float32
	four(s, I8, &got, &[4]unsafe.Pointer{p(3), p(0), p(1), p(1)}, arranged[0], n)
	if g := [4]float32{want(0, 3), want(0, 0), want(0, 1), want(0, 1)}; got != g {
		t.Fatalf("%v n %d: want %v, got %v", s, n, g, got)
	}
	rows, columns := s.TileShape()
	k, groups := Int8Row(n)/2, Int8Groups(n)
	a, b, scales, wide := make([]float32, k*rows), make([]float32, k*columns), make([]float32, groups*rows), make([]float32, rows*k)
	for i := range rows {
		q, sc := int8Arranged(arranged[i], n)
		copy(Int16s(wide[i*k:(i+1)*k]), q)
		for g, v := range sc {
			scales[g*rows+i] = v
		}
	}
	s.PackRows(a, rows, wide, k, rows, k)
	flat := make([]int8, 0, columns*2*k)
	for _, w := range ws[:columns] {
		flat = append(flat, w...)
	}
	s.PackInt8(b, columns, flat, 2*k, columns, 2*k)
	for _, tile := range append(otherTilesInt8(s), s.TileInt8) {
		for _, cut := range []int{k, k / 2 / 64 * 64} { // k in one piece and in two
			ldc := columns + 3
			c := make([]float32, rows*ldc)
			for i := range c {
				c[i] = 5
			}
			tile(c, ldc, a[:cut*rows], b[:cut*columns], scales, cut, false)
			if cut < k {
				tile(c, ldc, a[cut*rows:], b[cut*columns:], scales[cut/64*rows:], k-cut, true)
			}
			for i := range rows {
				for j := range ldc {
					w := float32(5)
					if j < columns {
						w = want(i, j)
					}
					if c[i*ldc+j] != w {
						t.Fatalf("%v n %d, cut %d: element %d,%d: want %v, got %v", s, n, cut, i, j, w, c[i*ldc+j])
					}
				}
			}
		}
	}
}

func TestPackInt8(t *testing.T) {
	for _, s := range sets() {
		for _, width := range []int{4, 16, 32} {
			for _, k := range []int{0, 16, 64, 192} {
				for rows := range width + 1 {
					rng := rand.New(rand.NewPCG(uint64(rows), uint64(k)))
					stride := k + 64
					w, dst := make([]int8, rows*stride), make([]float32, k/2*width+1)
					for i := range w {
						w[i] = int8(rng.IntN(255) - 127)
					}
					q := Int16s(dst)
					for i := range q {
						q[i] = 999
					}
					s.PackInt8(dst, width, w, stride, rows, k)
					for i, v := range q {
						want := int16(999)
						if p, column := i/2/width, i/2%width; p < k/2 && column < rows {
							want = int16(w[column*stride+2*p+i%2])
						} else if p < k/2 {
							want = 0
						}
						if v != want {
							t.Fatalf("%v width %d k %d rows %d: element %d: want %d, got %d", s, width, k, rows, i, want, v)
						}
					}
				}
			}
		}
	}
}

func TestRescale(t *testing.T) {
	for _, s := range sets() {
		for n := range 35 {
			for _, add := range []bool{false, true} {
				y, z, w := make([]float32, n+1), make([]float32, n), make([]float32, n)
				for i := range z {
					y[i], z[i], w[i] = float32(i)*0.37, float32(i)-7.3, 1/float32(i+1)
				}
				before := slices.Clone(y)
				s.Rescale(y, z, w, add)
				for i, v := range y {
					want := before[i]
					if i < n {
						want = z[i] * w[i]
						if add {
							want += before[i]
						}
					}
					if v != want {
						t.Fatalf("%v n %d add %v: element %d: want %v, got %v", s, n, add, i, want, v)
					}
				}
			}
		}
	}
}

func BenchmarkTileInt8(b *testing.B) {
	for _, s := range sets() {
		m, n := s.TileShape()
		const k = 512
		b.Run(fmt.Sprint(s), func(b *testing.B) {
			c, x, w, scales := make([]float32, m*n), make([]float32, m*k), make([]float32, n*k), make([]float32, m*k/64)
			for b.Loop() {
				s.TileInt8(c, n, x, w, scales, k, true)
			}
			b.ReportMetric(float64(4*m*n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
