package cpu

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"unsafe"

	kernel "mop/kernels/cpu"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// An int8 weight is within half a step of what was stored, and a product is that of
// the rounded matrix with activations within half of their steps; its bits are the
// same in both kinds of pass, on every set of kernels, at any number of threads, and
// for a row in a batch and alone.
func TestInt8(t *testing.T) {
	best, _ := kernel.Choose("auto")
	for _, s := range []struct{ n, in, out int }{{1, 1, 1}, {2, 63, 7}, {5, 331, 71}, {14, 1031, 33}, {3, 64, 9941}, {2, 9941, 19}, {50, 129, 300}} {
		x := randomBuffer(1, s.n, s.in)
		raw := randomBytes(checkpoint.BF16, []int{s.out, s.in})
		tensor := checkpoint.Tensor{Name: "w", DType: checkpoint.BF16, Shape: []int{s.out, s.in}, Data: raw}
		var first []float32
		for set := kernel.Generic; set <= best; set++ {
			for _, threads := range []int{1, 2, 3, 7} {
				d, err := Open(Options{Threads: threads, Kernels: set.String()})
				if err != nil {
					t.Fatal(err)
				}
				w, err := d.Place(tensor, device.PlaceOptions{Int8: true})
				if err != nil {
					t.Fatal(err)
				}
				if first == nil {
					exact, _ := d.Place(tensor, device.PlaceOptions{})
					first = checkInt8(t, d, x, asWeight(w), asWeight(exact))
				}
				for _, kind := range []device.Phase{device.Prefill, device.Decode} {
					y, last := guarded(s.n, s.out), guarded(1, s.out)
					d.Linear(kind, y, x, s.n, w)
					d.Linear(kind, last, &buffer{x.row(s.n - 1), 1, s.in}, 1, w)
					what := fmt.Sprintf("%v %v, %d threads, %v", set, kind, threads, s)
					same(t, what, first, y.data[:s.n*s.out])
					same(t, what+", alone", first[(s.n-1)*s.out:], last.row(0))
					for _, v := range y.row(s.n) {
						if v != 3 {
							t.Fatalf("%s: wrote beyond the rows", what)
						}
					}
					sum := append([]float32(nil), y.data...)
					for i := range s.n * s.out {
						sum[i] += first[i]
					}
					d.AddLinear(kind, y, x, s.n, w)
					same(t, what+", added", sum, y.data)
				}
				d.Close()
			}
		}
	}
}

// guarded is n rows and one more of threes, which nobody may write to.
func guarded(n, cols int) *buffer {
	b := &buffer{make([]float32, (n+1)*cols), n + 1, cols}
	for i := range cols {
		b.data[n*cols+i] = 3
	}
	return b
}

func same(t *testing.T, what string, want, got []float32) {
	t.Helper()
	for i, v := range want {
		if math.Float32bits(got[i]) != math.Float32bits(v) {
			t.Fatalf("%s: element %d: want %v, got %v", what, i, v, got[i])
		}
	}
}

// checkInt8 is W x, held to the formula.
func checkInt8(t *testing.T, d *Device, x *buffer, w, exact *weight) []float32 {
	t.Helper()
	out, in := w.rowsCols()
	if want := int64(out * ((in+63)/64*64 + 4)); w.Bytes() != want {
		t.Errorf("want %d bytes, got %d", want, w.Bytes())
	}
	y := &buffer{make([]float32, x.rows*out), x.rows, out}
	d.Linear(device.Decode, y, x, x.rows, w)
	for r := range out {
		a := append([]float32(nil), exact.widen(d.set, make([]float32, in), r, in)...)
		b := w.widen(d.set, make([]float32, in), r, in)
		for j := range a {
			if step := w.i8.scales[r]; math.Abs(float64(a[j]-b[j])) > 0.50001*float64(step) {
				t.Fatalf("row %d, column %d: stored %v, got %v, a step is %v", r, j, a[j], b[j], step)
			}
		}
		for i := range x.rows {
			want, tolerance := 0.0, 0.0
			for from := 0; from < in; from += kernel.Int8Group {
				most, sizes := 0.0, 0.0
				for j := from; j < min(from+kernel.Int8Group, in); j++ {
					v := float64(x.row(i)[j])
					want += float64(b[j]) * v
					most, sizes = max(most, math.Abs(v)), sizes+math.Abs(float64(b[j]))
				}
				tolerance += sizes * most * (0.51/32767 + 1e-6)
			}
			if got := float64(y.row(i)[r]); math.Abs(got-want) > tolerance {
				t.Fatalf("%v by %v: row %d of %d: want %v, got %v, tolerance %v", w.shape, x.rows, r, i, want, got, tolerance)
			}
		}
	}
	return y.data
}

// A layer of int8 weights: prefill agrees with decode, the fast kernels with the plain
// ones, and the bits are the same at any number of threads and for a row alone.
func TestInt8Layer(t *testing.T) {
	ws := newRandomWeights()
	ws.int8 = true
	best, _ := kernel.Choose("auto")
	for _, s := range []struct {
		n, D, I int
		hs      device.AttentionShape
	}{{3, 7, 13, device.AttentionShape{H: 3, K: 1, Dh: 6}}, {14, 129, 600, device.AttentionShape{H: 4, K: 2, Dh: 128}}} {
		// A norm's last bit may round an activation the other way, a step of 2^-15
		// of the largest.
		tolerance := 0x1p-24*(16+4*math.Sqrt(float64(max(s.D, s.I)))) + 0x1p-15*4/math.Sqrt(float64(min(s.D, s.I)))
		var plain map[string][][]float32
		for set := kernel.Generic; set <= best; set++ {
			for _, kind := range []device.Phase{device.Prefill, device.Decode} {
				outputs := func(threads, n, from int) map[string][][]float32 {
					d, err := Open(Options{Threads: threads, Kernels: set.String()})
					if err != nil {
						t.Fatal(err)
					}
					defer d.Close()
					return ws.outputs(t, d, kind, checkpoint.BF16, n, s.D, s.I, s.hs, from)
				}
				what := fmt.Sprintf("%v %v %+v", set, kind, s)
				whole := outputs(1, s.n, 0)
				if plain == nil {
					plain = whole
				}
				agree(t, what, plain, whole, tolerance)
				agree(t, what+", 3 threads", whole, outputs(3, s.n, 0), 0)
				one := map[string][][]float32{}
				for op, rows := range whole {
					one[op] = rows[s.n-1:]
				}
				agree(t, what+", alone", one, outputs(2, 1, s.n-1), 0)
			}
		}
	}
}

// Activations that are not finite come out as outputs that are not.
func TestInt8NotFinite(t *testing.T) {
	best, _ := kernel.Choose("auto")
	const n, in, out = 3, 331, 41
	raw := randomBytes(checkpoint.BF16, []int{out, in})
	for set := kernel.Generic; set <= best; set++ {
		d, err := Open(Options{Threads: 1, Kernels: set.String()})
		if err != nil {
			t.Fatal(err)
		}
		w, err := d.Place(checkpoint.Tensor{Name: "w", DType: checkpoint.BF16, Shape: []int{out, in}, Data: raw}, device.PlaceOptions{Int8: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []float32{float32(math.Inf(1)), float32(math.NaN())} {
			for at := 0; at < in; at += 11 {
				for _, kind := range []device.Phase{device.Prefill, device.Decode} {
					x, y := randomBuffer(1, n, in), guarded(n, out)
					x.row(1)[at] = bad
					d.Linear(kind, y, x, n, w)
					for i := range n {
						for _, v := range y.row(i) {
							if finite := v-v == 0; finite != (i != 1) {
								t.Fatalf("%v %v: %v at %d: row %d: got %v", set, kind, bad, at, i, v)
							}
						}
					}
				}
			}
		}
		d.Close()
	}
}

func TestInt8Edges(t *testing.T) {
	d, err := New(2)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	place := func(x []float32, shape ...int) (device.Weight, error) {
		return d.Place(checkpoint.Tensor{Name: "w", DType: checkpoint.F32, Shape: shape, Data: unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), 4*len(x))}, device.PlaceOptions{Int8: true})
	}
	w, err := place([]float32{0, 0, 1e-44, 0, -2, 1}, 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	if q := asWeight(w).i8; q.scales[0] != 0 || q.data[0] != 0 || q.data[2*q.stride] != -127 || q.data[2*q.stride+1] != 64 && q.data[2*q.stride+1] != 63 {
		t.Errorf("got %v, scales %v", q.data, q.scales)
	}
	if w, err := place([]float32{1, 2, 3}, 3); err != nil || asWeight(w).i8 != nil {
		t.Errorf("a vector: want it as it is, got %v, %v", w, err)
	}
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1))} {
		if _, err := place([]float32{0, 1, bad, 1}, 2, 2); err == nil || !strings.Contains(err.Error(), "row 1") {
			t.Errorf("%v: want an error that names row 1, got %v", bad, err)
		}
	}
}
