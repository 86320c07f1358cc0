package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func TestTile(t *testing.T) {
	for _, s := range sets() {
		m, n := s.TileShape()
		for _, k := range []int{0, 1, 2, 3, 4, 5, 7, 8, 64, 331} {
			for _, add := range []bool{false, true} {
				rng := rand.New(rand.NewPCG(uint64(k), 1))
				fill := func(n int) []float32 {
					x := make([]float32, n)
					for i := range x {
						x[i] = float32(rng.NormFloat64())
					}
					return x
				}
				a, b, ldc := fill(k*m), fill(k*n), n+3
				c := fill((m-1)*ldc + n)
				before := append([]float32(nil), c...)
				s.Tile(c, ldc, a, b, k, add, b[:k])
				for i := range m {
					for j := range ldc {
						at := i*ldc + j
						if at >= len(c) {
							break
						}
						want, size := 0.0, 0.0
						if add || j >= n {
							want = float64(before[at])
						}
						for p := 0; p < k && j < n; p++ {
							v := float64(a[p*m+i]) * float64(b[p*n+j])
							want, size = want+v, size+math.Abs(v)
						}
						if e, tol := math.Abs(float64(c[at])-want), tolerance(k, size+math.Abs(want)); !(e <= tol) {
							t.Fatalf("%v k %d add %v: element %d,%d: want %v, got %v", s, k, add, i, j, want, c[at])
						}
					}
				}
			}
		}
	}
}

func TestPack(t *testing.T) {
	for _, s := range sets() {
		m, n := s.TileShape()
		for _, width := range []int{m, n} {
			for _, k := range []int{1, 7, 8, 9, 16, 17, 64, 331} {
				for rows := range width + 1 {
					stride := k + 5
					src := make([]float32, (rows+rows%3*4)*stride)
					for i := range src {
						src[i] = float32(i + 1)
					}
					dst := make([]float32, k*width+8)
					for i := range dst {
						dst[i] = -1
					}
					s.PackRows(dst[:k*width], width, src, stride, rows, k)
					for i, v := range dst {
						want := float32(-1)
						if p, c := i/width, i%width; p < k && c < rows {
							want = src[c*stride+p]
						} else if p < k {
							want = 0
						}
						if v != want {
							t.Fatalf("%v width %d k %d rows %d: element %d: want %v, got %v", s, width, k, rows, i, want, v)
						}
					}
				}
			}
		}
	}
}

func TestPack16(t *testing.T) {
	for _, s := range sets() {
		m, n := s.TileShape()
		for _, width := range []int{m, n} {
			for _, k := range []int{1, 7, 15, 16, 17, 31, 64, 263, 331} {
				for rows := range width + 1 {
					stride := k + 5
					src := make([]uint16, max(rows*stride-5, 0)) // up to the last number wanted
					for i := range src {
						src[i] = uint16(i * 0x9e37)
					}
					for what, c := range map[string]struct {
						pack func(dst []float32, width int, src []uint16, stride, rows, k int)
						from func(uint16) float32
					}{"bfloat16": {s.PackBF16, FromBF16}, "half": {s.PackF16, FromF16}} {
						dst := make([]float32, k*width+8)
						for i := range dst {
							dst[i] = -1
						}
						c.pack(dst[:k*width], width, src, stride, rows, k)
						for i, v := range dst {
							want := float32(-1)
							if p, r := i/width, i%width; p < k && r < rows {
								want = c.from(src[r*stride+p])
							} else if p < k {
								want = 0
							}
							if math.Float32bits(v) != math.Float32bits(want) && (v == v || want == want) {
								t.Fatalf("%v %s width %d k %d rows %d: element %d: want %v, got %v", s, what, width, k, rows, i, want, v)
							}
						}
					}
				}
			}
		}
	}
}

func TestWiden(t *testing.T) {
	all := make([]uint16, 1<<16)
	for i := range all {
		all[i] = uint16(i)
	}
	for _, s := range sets() {
		for _, n := range []int{0, 1, 15, 16, 31, 33, 1 << 16} {
			a, b, c := make([]float32, n), make([]float32, n), make([]float32, n)
			small := make([]int8, n)
			for i := range small {
				small[i] = int8(i)
			}
			s.WidenI8(c, small, 0.3)
			for i, q := range small {
				if want := float32(q) * 0.3; c[i] != want {
					t.Fatalf("%v int8 %d: want %v, got %v", s, q, want, c[i])
				}
			}
			s.WidenBF16(a, all[len(all)-n:])
			s.WidenF16(b, all[len(all)-n:])
			for i, h := range all[len(all)-n:] {
				if want := FromBF16(h); a[i] != want && want == want {
					t.Fatalf("%v bfloat16 %#x: want %v, got %v", s, h, want, a[i])
				}
				if want := FromF16(h); b[i] != want && want == want || want != want && b[i] == b[i] {
					t.Fatalf("%v half %#x: want %v, got %v", s, h, want, b[i])
				}
			}
		}
	}
}

func BenchmarkTile(b *testing.B) {
	for _, s := range sets() {
		m, n := s.TileShape()
		for _, k := range []int{128, 256, 512} {
			b.Run(fmt.Sprintf("%v/%d", s, k), func(b *testing.B) {
				c, x, w := make([]float32, m*n), make([]float32, m*k), make([]float32, n*k)
				for b.Loop() {
					s.Tile(c, n, x, w, k, true, nil)
				}
				b.ReportMetric(float64(2*m*n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}

func BenchmarkPack(b *testing.B) {
	for _, s := range sets() {
		_, n := s.TileShape()
		k := 512
		b.Run(s.String(), func(b *testing.B) {
			src, dst := make([]float32, n*(k+16)), make([]float32, n*k)
			for b.Loop() {
				s.PackRows(dst, n, src, k+16, n, k)
			}
			b.ReportMetric(float64(n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "G/s")
		})
		b.Run(s.String()+"/bfloat16", func(b *testing.B) {
			src, dst := make([]uint16, n*2048), make([]float32, n*k)
			for b.Loop() {
				s.PackBF16(dst, n, src, 2048, n, k)
			}
			b.ReportMetric(float64(n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "G/s")
		})
		for _, rows := range []int{n, n - 1, 1} { // the last panel of an odd width has few rows
			b.Run(fmt.Sprintf("%v/half, %d rows", s, rows), func(b *testing.B) {
				src, dst := make([]uint16, n*2048), make([]float32, n*k)
				for b.Loop() {
					s.PackF16(dst, n, src, 2048, rows, k)
				}
			})
		}
	}
}
