package cpu

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// pairSets are the sets that multiply pairs.
func pairSets() []Set {
	var out []Set
	for _, s := range sets() {
		if s.Pairs() {
			out = append(out, s)
		}
	}
	return out
}

// drawPairs makes n pairs.
func drawPairs(rng *rand.Rand, n int) []uint32 {
	x := make([]uint32, n)
	for i := range x {
		x[i] = uint32(ToBF16(float32(rng.NormFloat64()))) | uint32(ToBF16(float32(rng.NormFloat64())))<<16
	}
	return x
}

// The order of a sum is given, and products are exact: so the sums are those of
// the order written out, bit by bit.
func TestTilePairs(t *testing.T) {
	for _, s := range pairSets() {
		m, n := s.TileShape()
		for _, k := range []int{0, 1, 2, 3, 4, 5, 7, 8, 64, 331} {
			for _, add := range []bool{false, true} {
				rng := rand.New(rand.NewPCG(uint64(k), 2))
				a, b, ldc := drawPairs(rng, k*m), drawPairs(rng, k*n), n+3
				c := make([]float32, (m-1)*ldc+n)
				for i := range c {
					c[i] = float32(rng.NormFloat64())
				}
				before := append([]float32(nil), c...)
				s.TilePairs(c, ldc, a, b, k, add, b[:k])
				for at := range c {
					i, j := at/ldc, at%ldc
					want := before[at]
					if j < n {
						var sum float32
						for p := range k {
							x, w := a[p*m+i], b[p*n+j]
							sum += FromBF16(uint16(x>>16)) * FromBF16(uint16(w>>16))
							sum += FromBF16(uint16(x)) * FromBF16(uint16(w))
						}
						if add {
							sum += want
						}
						want = sum
					}
					if math.Float32bits(c[at]) != math.Float32bits(want) {
						t.Fatalf("%v k %d add %v: element %d,%d: want %v, got %v", s, k, add, i, j, want, c[at])
					}
				}
			}
		}
	}
}

func TestPackPairs(t *testing.T) {
	for _, s := range sets() {
		m, n := s.TileShape()
		for _, width := range []int{m, n} {
			for _, k := range []int{1, 2, 7, 16, 31, 32, 33, 64, 95, 331} {
				for rows := range width + 1 {
					stride := k + 5
					src := make([]uint16, max(rows, k)*max(stride, width))
					for i := range src {
						src[i] = uint16(i + 1)
					}
					check := func(what string, pack func(dst []uint32), at func(p, i int) uint16) {
						const guard = 0xdeadbeef
						pairs := (k + 1) / 2
						dst := make([]uint32, pairs*width+8)
						for i := range dst {
							dst[i] = guard
						}
						pack(dst[:pairs*width])
						for j, got := range dst {
							want := uint32(guard)
							if p, i := j/width, j%width; p < pairs {
								want = 0
								if i < rows {
									want = uint32(at(2*p, i))
								}
								if i < rows && 2*p+1 < k {
									want |= uint32(at(2*p+1, i)) << 16
								}
							}
							if got != want {
								t.Fatalf("%v %s, width %d k %d rows %d: pair %d: want %x, got %x", s, what, width, k, rows, j, want, got)
							}
						}
					}
					check("rows", func(dst []uint32) { s.PackPairs(dst, width, src[:max(0, (rows-1)*stride+k)], stride, rows, k) },
						func(p, i int) uint16 { return src[i*stride+p] })
					check("columns", func(dst []uint32) { s.PackPairColumns(dst, width, src[:(k-1)*width+rows], width, rows, k) },
						func(p, i int) uint16 { return src[p*width+i] })
				}
			}
		}
	}
}

func TestRoundBF16(t *testing.T) {
	bits := []uint32{0, 1, 0x7fff, 0x8000, 0x8001, 0x3f808000, 0x3f818000, 0x3f80ffff, 0x7f7fffff, 0x7f800000, 0x7f800001, 0x7fffffff, 0xff800001, 0xffffffff, 0x80000000, 0xbf808001}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 4096 {
		bits = append(bits, rng.Uint32())
	}
	x := make([]float32, len(bits))
	for i, b := range bits {
		x[i] = math.Float32frombits(b)
	}
	for i, v := range x {
		down, got := math.Float32frombits(bits[i]&0xffff0000), FromBF16(ToBF16(v))
		switch up := math.Float32frombits(bits[i]&0xffff0000 + 0x10000); {
		case v != v:
			if got == got {
				t.Errorf("%x: want no number, got %v", bits[i], got)
			}
		case bits[i]&0xffff < 0x8000 || bits[i]&0x1ffff == 0x8000:
			if got != down {
				t.Errorf("%x: want %v, got %v", bits[i], down, got)
			}
		case got != up:
			t.Errorf("%x: want %v, got %v", bits[i], up, got)
		}
	}
	for _, s := range sets() {
		for _, n := range []int{0, 1, 15, 16, 33, len(x)} {
			got, rounded := make([]uint16, n), append([]float32(nil), x[:n]...)
			s.RoundBF16(got, x[:n])
			s.Round(rounded)
			for i := range got {
				want := ToBF16(x[i])
				if got[i] != want || math.Float32bits(rounded[i])>>16 != uint32(want) && x[i] == x[i] {
					t.Fatalf("%v: %x: want %x, got %x and %x", s, bits[i], want, got[i], math.Float32bits(rounded[i]))
				}
			}
		}
	}
}

func BenchmarkTilePairs(b *testing.B) {
	for _, s := range pairSets() {
		m, n := s.TileShape()
		for _, k := range []int{128, 256, 512} {
			b.Run(s.String(), func(b *testing.B) {
				rng := rand.New(rand.NewPCG(5, 6))
				x, w := drawPairs(rng, k*m), drawPairs(rng, k*n)
				c := make([]float32, m*n)
				for b.Loop() {
					s.TilePairs(c, n, x, w, k, true, nil)
				}
				b.ReportMetric(float64(4*m*n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}

// Weights come from memory, panels go to the second cache.
func BenchmarkPackPairs(b *testing.B) {
	for _, s := range pairSets() {
		_, n := s.TileShape()
		const k, stride = 512, 2048
		src, dst := make([]uint16, n*stride), make([]uint32, n*k/2)
		for _, pack := range []struct {
			name string
			call func()
		}{
			{"rows", func() { s.PackPairs(dst, n, src, stride, n, k) }},
			{"columns", func() { s.PackPairColumns(dst, n, src, n, n, k) }},
		} {
			b.Run(s.String()+"/"+pack.name, func(b *testing.B) {
				start := time.Now()
				for b.Loop() {
					pack.call()
				}
				b.ReportMetric(float64(n*k)*float64(b.N)/time.Since(start).Seconds()/1e9, "G/s")
			})
		}
	}
}

func TestAddPairs(t *testing.T) {
	x, y := uint32(0x3fc04000), uint32(0x40a03f80) // 2 and 1.5, 1 and 5
	var got, want [384]float32
	MultiplyAddPairs(1000, x, y, &got)
	multiplyAddPairsGeneric(1000, x, y, &want)
	if got != want || got[383] != 1000*(2*1+1.5*5) {
		t.Errorf("want %v, got %v", want[383], got)
	}
}
