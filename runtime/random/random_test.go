package random

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sync"
	"testing"

	"github.com/x448/float16"
)

// Word j of key k is SplitMix64's output j+1 from seed k. These are the first outputs
// of the published reference implementation for seed 1234567.
func TestSplitMix64(t *testing.T) {
	for j, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423} {
		if got := Word(1234567, uint64(j)); got != want {
			t.Errorf("word %d: want %d, got %d", j, want, got)
		}
	}
}

// The numbers are from testdata/recipe.py, which follows the formula of the package's
// documentation alone.
func TestKnownAnswers(t *testing.T) {
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Seed, Key uint64 `json:",string"`
			Name      string
			Std       float64
			Words     []string
			Scale     uint32
			Elements  []struct {
				I         uint64
				M         int64
				F32       uint32
				F16, BF16 uint16
			}
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) == 0 {
		t.Fatal("no cases")
	}
	for _, c := range golden.Cases {
		key, scale := Key(c.Seed, c.Name), Scale(c.Std)
		if key != c.Key || math.Float32bits(scale) != c.Scale {
			t.Errorf("%q: want key %d scale %#x, got %d %#x", c.Name, c.Key, c.Scale, key, math.Float32bits(scale))
		}
		for j, w := range c.Words {
			if got := fmt.Sprint(Word(key, uint64(j))); got != w {
				t.Errorf("%q: word %d: want %s, got %s", c.Name, j, w, got)
			}
		}
		for _, e := range c.Elements {
			if got := Uniform(key, e.I, 1); got != float32(e.M) {
				t.Errorf("%q: element %d: want %d, got %v", c.Name, e.I, e.M, got)
			}
			var b [4]byte
			FillF32(b[:], key, e.I, scale)
			if got := binary.LittleEndian.Uint32(b[:]); got != e.F32 {
				t.Errorf("%q: element %d: want F32 %#x, got %#x", c.Name, e.I, e.F32, got)
			}
			FillF16(b[:2], key, e.I, scale)
			if got := binary.LittleEndian.Uint16(b[:]); got != e.F16 {
				t.Errorf("%q: element %d: want F16 %#x, got %#x", c.Name, e.I, e.F16, got)
			}
			FillBF16(b[:2], key, e.I, scale)
			if got := binary.LittleEndian.Uint16(b[:]); got != e.BF16 {
				t.Errorf("%q: element %d: want BF16 %#x, got %#x", c.Name, e.I, e.BF16, got)
			}
		}
	}
}

// Every part of a stream has the bytes that it has in the whole stream, for odd and
// even starts and lengths.
func TestFillOfAnyPart(t *testing.T) {
	key, scale := Key(3, "w"), Scale(0.02)
	for _, f := range []struct {
		name string
		size int
		fill func([]byte, uint64, uint64, float32)
	}{{"F32", 4, FillF32}, {"F16", 2, FillF16}, {"BF16", 2, FillBF16}} {
		whole := make([]byte, 13*f.size)
		f.fill(whole, key, 0, scale)
		for from := 0; from <= 13; from++ {
			for to := from; to <= 13; to++ {
				part := make([]byte, (to-from)*f.size)
				f.fill(part, key, uint64(from), scale)
				if string(part) != string(whole[from*f.size:to*f.size]) {
					t.Errorf("%s: elements %d to %d differ from the whole", f.name, from, to)
				}
			}
		}
	}
}

// f16 agrees with the library on values around every boundary of the format.
func TestF16Rounding(t *testing.T) {
	for b := range uint32(1 << 16) {
		for _, low := range []uint32{0, 1, 0x0fff, 0x1000, 0x1001, 0x1fff, 0x2000, 0x2fff, 0x3000, 0x3001, 0xffff} {
			x := math.Float32frombits(b<<16 | low)
			if x != x {
				continue
			}
			if want, got := float16.Fromfloat32(x).Bits(), f16(x); want != got {
				t.Fatalf("%g (%#x): want %#x, got %#x", x, math.Float32bits(x), want, got)
			}
		}
	}
}

// The mean, the variance and the correlation of neighbours of n uniform values are
// within five standard deviations, each of about 1/sqrt(n).
func TestUniformMoments(t *testing.T) {
	const n, std = 1 << 20, 0.02
	key, scale := Key(9, "model.layers.0.mlp.up_proj.weight"), Scale(std)
	var sum, squares, pairs, last float64
	for i := range uint64(n) {
		x := float64(Uniform(key, i, scale)) / std
		if math.Abs(x) > math.Sqrt(3) {
			t.Fatalf("element %d: %g deviations", i, x)
		}
		sum, squares, pairs, last = sum+x, squares+x*x, pairs+x*last, x
	}
	tol := 5 / math.Sqrt(n)
	if mean := sum / n; math.Abs(mean) > tol {
		t.Errorf("mean: want 0 within %g, got %g", tol, mean)
	}
	if v := squares / n; math.Abs(v-1) > tol { // the variance of x^2 is 4/5
		t.Errorf("variance: want 1 within %g, got %g", tol, v)
	}
	if r := pairs / n; math.Abs(r) > tol {
		t.Errorf("correlation of neighbours: want 0 within %g, got %g", tol, r)
	}
}

func BenchmarkFill(b *testing.B) {
	for _, f := range []struct {
		name string
		size int
		fill func([]byte, uint64, uint64, float32)
	}{{"F32", 4, FillF32}, {"F16", 2, FillF16}, {"BF16", 2, FillBF16}} {
		for _, cores := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/cores=%d", f.name, cores), func(b *testing.B) {
				const n = 1 << 17 // elements of a core in a round, few enough to stay in the cache
				var wg sync.WaitGroup
				for c := range cores {
					wg.Go(func() {
						dst := make([]byte, n*f.size)
						for r := range b.N {
							f.fill(dst, 1, uint64(c*b.N+r)*n, Scale(0.02))
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(cores*n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gelements/s")
			})
		}
	}
}
