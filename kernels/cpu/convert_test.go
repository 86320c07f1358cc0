package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Every half comes back from its float32, numbers between two halves go to the nearest
// one, in the middle to the even one, and numbers beyond the range to the largest half;
// all sets agree.
func TestNarrowF16(t *testing.T) {
	var x []float32
	var want []uint16
	add := func(v float32, h uint16) { x, want = append(x, v), append(want, h) }
	for h := range uint16(0x7c00) {
		v := FromF16(h)
		add(v, h)
		add(-v, h|0x8000)
		if h == 0x7bff {
			break
		}
		next := FromF16(h + 1)
		middle := v + (next-v)/2 // exact: it needs one bit more
		even := h + h&1
		add(middle, even)
		add(-middle, even|0x8000)
		add(math.Nextafter32(middle, 0), h)
		add(math.Nextafter32(middle, 1e9), h+1)
	}
	inf := float32(math.Inf(1))
	for _, v := range []float32{65519, 65520, 1e9, math.MaxFloat32, inf} {
		add(v, 0x7bff)
		add(-v, 0xfbff)
	}
	add(math.SmallestNonzeroFloat32, 0)
	for _, s := range sets() {
		got := make([]uint16, len(x))
		s.NarrowF16(got, x)
		for i, h := range got {
			if h != want[i] {
				t.Fatalf("%v: %v: want %#04x, got %#04x", s, x[i], want[i], h)
			}
		}
		nan := slices.Repeat([]float32{float32(math.NaN())}, 17)
		s.NarrowF16(got[:17], nan)
		for i, h := range got[:17] {
			if v := FromF16(h); v == v {
				t.Errorf("%v: NaN %d became %v", s, i, v)
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range x {
		x[i] = math.Float32frombits(rng.Uint32())
		if x[i] != x[i] {
			x[i] = 1
		}
	}
	Generic.NarrowF16(want, x)
	for _, s := range sets() {
		got := make([]uint16, len(x))
		s.NarrowF16(got, x)
		if !slices.Equal(got, want) {
			t.Errorf("%v: random numbers are rounded differently from the plain version", s)
		}
	}
}
