package cpu

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// widths of rows: around every step's multiples, primes, pruned models'.
var widths = []int{1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 97, 128, 331, 1000, 1536, 2000, 2048, 5632, 9941, 10653}

// row is n elements of a type, and what they are.
func row(rng *rand.Rand, t Type, n int) ([]byte, []float64) {
	raw, values := make([]byte, n*t.Size()), make([]float64, n)
	for i := range n {
		x := float32(rng.NormFloat64())
		switch t {
		case F32:
			binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(x))
		case BF16:
			b := uint16(math.Float32bits(x) >> 16)
			binary.LittleEndian.PutUint16(raw[2*i:], b)
			x = FromBF16(b)
		case F16:
			h := uint16(rng.IntN(1<<15))&0x3fff | uint16(rng.IntN(2))<<15 // below 2 in size
			binary.LittleEndian.PutUint16(raw[2*i:], h)
			x = FromF16(h)
		}
		values[i] = float64(x)
	}
	return raw, values
}

// tolerance of a float32 sum of n products whose sizes add up to size.
func tolerance(n int, size float64) float64 {
	return size * 0x1p-24 * (4 + math.Sqrt(float64(n)))
}

// four is DotRows for four rows, one each; further streams have the same rows.
func four(s Set, t Type, out *[4]float32, rows *[4]unsafe.Pointer, x []float32, n int) {
	var all [MaxStreams]unsafe.Pointer
	for i := range all {
		all[i] = rows[i%4]
	}
	got := make([]float32, t.Streams())
	s.DotRows(t, got, &all, x, n)
	copy(out[:], got)
	for i, v := range got {
		if math.Float32bits(v) != math.Float32bits(got[i%4]) {
			out[i%4] = float32(math.NaN()) // a row has other bits in another stream
		}
	}
}

func TestDots(t *testing.T) {
	for _, s := range sets() {
		for ty := range I8 {
			for _, n := range widths {
				rng := rand.New(rand.NewPCG(uint64(n), uint64(ty)))
				x := make([]float32, n)
				for i := range x {
					x[i] = float32(rng.NormFloat64())
				}
				arranged := make([]float32, Arranged(n)+4)
				for i := range arranged {
					arranged[i] = float32(math.NaN()) // no element may be read that Arrange did not set
				}
				s.Arrange(arranged[:Arranged(n)], x, ty)
				if v := arranged[Arranged(n)]; v == v {
					t.Errorf("%v %d: Arrange wrote beyond its vector", s, n)
				}
				var rows [4]unsafe.Pointer
				var want, size [4]float64
				for i := range rows {
					raw, values := row(rng, ty, n)
					rows[i] = unsafe.Pointer(&raw[0])
					for j, v := range values {
						want[i] += v * float64(x[j])
						size[i] += math.Abs(v * float64(x[j]))
					}
				}
				var got, again [4]float32
				four(s, ty, &got, &rows, arranged[:Arranged(n)], n)
				for i, v := range got {
					if e, tol := math.Abs(float64(v)-want[i]), tolerance(n, size[i]); !(e <= tol) {
						t.Errorf("%v type %d n %d row %d: want %v, got %v, %.2f of the tolerance", s, ty, n, i, want[i], v, e/tol)
					}
				}
				rows0 := rows
				rows = [4]unsafe.Pointer{rows[2], rows[2], rows[1], rows[0]}
				four(s, ty, &again, &rows, arranged[:Arranged(n)], n)
				if again != [4]float32{got[2], got[2], got[1], got[0]} {
					t.Errorf("%v type %d n %d: a row's bits depend on its place", s, ty, n)
				}
				// The same four rows, two that follow each other in each stream.
				pair := func(i, j int) unsafe.Pointer {
					size := n * ty.Size()
					both := append(unsafe.Slice((*byte)(rows0[i]), size)[:size:size], unsafe.Slice((*byte)(rows0[j]), size)...)
					return unsafe.Pointer(&both[0])
				}
				streams := ty.Streams()
				var pairs [MaxStreams]unsafe.Pointer
				for i := range streams {
					pairs[i] = pair(i%4, (i+i/4+1)%4)
				}
				along := make([]float32, 2*streams)
				s.DotRows(ty, along, &pairs, arranged[:Arranged(n)], n)
				for i := range streams {
					if along[i] != got[i%4] || along[streams+i] != got[(i+i/4+1)%4] {
						t.Errorf("%v type %d n %d: other bits along rows that follow each other", s, ty, n)
					}
				}
			}
		}
	}
}

// Several vectors at a time have the bits of each alone.
func TestDotVectors(t *testing.T) {
	for _, s := range sets() {
		for ty := range I8 {
			for _, n := range widths {
				for v := 2; v <= s.VectorsAtOnce(ty, n); v++ {
					rng := rand.New(rand.NewPCG(uint64(n), uint64(v)))
					count, size := 3*RowsAtOnce(v), VectorStride(n)
					raw := make([]byte, 0, (count+MaxStreams)*n*ty.Size())
					for range count {
						one, _ := row(rng, ty, n)
						raw = append(raw, one...)
					}
					x, arranged := make([]float32, n), make([]float32, v*size)
					for i := range arranged {
						arranged[i] = float32(math.NaN())
					}
					for i := range v {
						for j := range x {
							x[j] = float32(rng.NormFloat64())
						}
						s.Arrange(arranged[i*size:][:Arranged(n)], x, ty)
					}
					got := make([]float32, count*v+1)
					got[count*v] = 7
					s.DotVectors(ty, got[:count*v], count, unsafe.Pointer(&raw[0]), count, arranged, v, n, 0, 0)
					if got[count*v] != 7 {
						t.Fatalf("%v type %d n %d, %d vectors: written beyond the products", s, ty, n, v)
					}
					for r := range count {
						var rows [MaxStreams]unsafe.Pointer
						for i := range rows {
							rows[i] = unsafe.Pointer(&raw[r*n*ty.Size()])
						}
						want := make([]float32, ty.Streams())
						for i := range v {
							s.DotRows(ty, want, &rows, arranged[i*size:(i+1)*size], n)
							if g := got[i*count+r]; math.Float32bits(g) != math.Float32bits(want[0]) {
								t.Fatalf("%v type %d n %d, row %d, vector %d of %d: want %v as alone, got %v", s, ty, n, r, i, v, want[0], g)
							}
						}
					}
				}
			}
		}
	}
}

// An infinity or a NaN in a row, wherever it stands, comes out as in plain Go.
func TestDotsNotFinite(t *testing.T) {
	for _, s := range sets() {
		for ty := range Type(3) {
			for _, n := range []int{1, 16, 17, 33, 63} {
				for at := range n {
					for _, bad := range []float32{float32(math.Inf(1)), float32(math.NaN())} {
						x, raw := make([]float32, n), make([]byte, n*ty.Size())
						for i := range x {
							x[i] = 1
						}
						switch ty {
						case F32:
							binary.LittleEndian.PutUint32(raw[4*at:], math.Float32bits(bad))
						case BF16:
							binary.LittleEndian.PutUint16(raw[2*at:], uint16(math.Float32bits(bad)>>16))
						case F16:
							h := uint16(0x7c00)
							if bad != bad {
								h = 0x7e00
							}
							binary.LittleEndian.PutUint16(raw[2*at:], h)
						}
						arranged := make([]float32, Arranged(n))
						s.Arrange(arranged, x, ty)
						p := unsafe.Pointer(&raw[0])
						var got [4]float32
						four(s, ty, &got, &[4]unsafe.Pointer{p, p, p, p}, arranged, n)
						if got[0] != bad && bad == bad || got[0] == got[0] && bad != bad {
							t.Fatalf("%v type %d n %d: want %v, got %v", s, ty, n, bad, got[0])
						}
					}
				}
			}
		}
	}
}

// A matrix larger than the caches, along its streams, by the width of its rows.
func BenchmarkDots(b *testing.B) {
	w := make([]byte, 96<<20)
	for i := range w {
		w[i] = byte(i)
	}
	for _, s := range sets()[1:] {
		for ty := range Type(4) {
			for _, n := range []int{2048, 5632} {
				b.Run(fmt.Sprintf("%v/type %d/%d", s, ty, n), func(b *testing.B) {
					x := make([]float32, Arranged(n))
					s.Arrange(x, make([]float32, n), ty)
					count := len(w) / ty.RowBytes(n) / ty.Streams()
					var rows [MaxStreams]unsafe.Pointer
					for i := range ty.Streams() {
						rows[i] = unsafe.Pointer(&w[i*count*ty.RowBytes(n)])
					}
					out := make([]float32, count*ty.Streams())
					b.SetBytes(int64(len(out) * ty.RowBytes(n)))
					for b.Loop() {
						s.DotRows(ty, out, &rows, x, n)
					}
				})
			}
		}
	}
}

// The vectors of any length lie at different places in their pages, each behind the one before.
func TestVectorStride(t *testing.T) {
	for n := range 12000 {
		stride := VectorStride(n)
		if stride < Arranged(n) || stride > Arranged(n)+1024 || stride%32 > 0 {
			t.Fatalf("%d elements: got %d for %d", n, stride, Arranged(n))
		}
		for i := range maxVectors {
			for j := range i {
				a, b := i*stride*4%4096, j*stride*4%4096
				if d := max(a, b) - min(a, b); min(d, 4096-d) < nearVectors {
					t.Fatalf("%d elements: vectors %d and %d are %d bytes apart", n, j, i, d)
				}
			}
		}
	}
}

// Rows that stay in the second cache, times several vectors.
func BenchmarkDotVectors(b *testing.B) {
	for _, s := range sets()[1:] {
		for ty := range I8 {
			for _, n := range []int{576, 1536} {
				for v := 2; v <= s.VectorsAtOnce(ty, n); v++ {
					b.Run(fmt.Sprintf("%v/type %d/%d/%d", s, ty, n, v), func(b *testing.B) {
						const rows = 48
						w, x := make([]byte, rows*ty.RowBytes(n)), make([]float32, v*VectorStride(n))
						for i := range v {
							s.Arrange(x[i*VectorStride(n):][:Arranged(n)], make([]float32, n), ty)
						}
						out := make([]float32, rows*v)
						for b.Loop() {
							s.DotVectors(ty, out, rows, unsafe.Pointer(&w[0]), rows, x, v, n, 0, 0)
						}
						b.ReportMetric(2*float64(len(out)*n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
					})
				}
			}
		}
	}
}
