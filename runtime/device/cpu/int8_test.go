package cpu

import (
	"math"
	"strings"
	"testing"
	"unsafe"

	kernel "mop/kernels/cpu"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// An int8 weight is within half a step of what was stored, and products with it
// are those with the rounded matrix, in both kinds of pass, at the same bits for
// any number of threads.
func TestInt8(t *testing.T) {
	best, _ := kernel.Choose("auto")
	const n, in, out = 5, 331, 71
	x := filled(1, n, in)
	raw := draw(checkpoint.BF16, []int{out, in})
	for set := kernel.Generic; set <= best; set++ {
		first := map[device.Kind][]float32{}
		for _, threads := range []int{1, 2, 3, 7} {
			d, err := Open(Options{Threads: threads, Kernels: set.String()})
			if err != nil {
				t.Fatal(err)
			}
			tensor := checkpoint.Tensor{Name: "w", DType: checkpoint.BF16, Shape: []int{out, in}, Data: raw}
			exact, _ := d.Place(tensor)
			w, err := d.PlaceInt8(tensor)
			if err != nil {
				t.Fatal(err)
			}
			if want := int64(out * (in + 4)); w.Bytes() != want {
				t.Errorf("want %d bytes, got %d", want, w.Bytes())
			}
			for _, kind := range []device.Kind{device.Prefill, device.Decode} {
				y := &buffer{make([]float32, n*out), n, out}
				d.Linear(kind, y, x, n, w)
				for r := range out {
					a := append([]float32(nil), stored(exact).widen(set, make([]float32, in), r, in)...)
					b := stored(w).widen(set, make([]float32, in), r, in)
					for j := range a {
						if step := stored(w).i8.scales[r]; math.Abs(float64(a[j]-b[j])) > 0.50001*float64(step) {
							t.Fatalf("row %d, column %d: stored %v, got %v, a step is %v", r, j, a[j], b[j], step)
						}
					}
					for i := range n {
						want, size := 0.0, 0.0
						for j, v := range b {
							p := float64(v) * float64(x.row(i)[j])
							want, size = want+p, size+math.Abs(p)
						}
						if got := float64(y.row(i)[r]); math.Abs(got-want) > 1e-6*size {
							t.Fatalf("%v %v: row %d of %d: want %v, got %v", set, kind, r, i, want, got)
						}
					}
				}
				if first[kind] == nil {
					first[kind] = y.data
				}
				for i, v := range y.data {
					if v != first[kind][i] {
						t.Fatalf("%v %v: other bits with %d threads", set, kind, threads)
					}
				}
			}
			d.Close()
		}
	}
}

func TestInt8Edges(t *testing.T) {
	d, err := New(2)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	place := func(x []float32, shape ...int) (device.Weight, error) {
		return d.PlaceInt8(checkpoint.Tensor{Name: "w", DType: checkpoint.F32, Shape: shape, Data: unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), 4*len(x))})
	}
	w, err := place([]float32{0, 0, 1e-44, 0, -2, 1}, 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	if q := stored(w).i8; q.scales[0] != 0 || q.data[0] != 0 || q.data[4] != -127 || q.data[5] != 64 && q.data[5] != 63 {
		t.Errorf("got %v, scales %v", q.data, q.scales)
	}
	if w, err := place([]float32{1, 2, 3}, 3); err != nil || stored(w).i8 != nil {
		t.Errorf("a vector: want it as it is, got %v, %v", w, err)
	}
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1))} {
		if _, err := place([]float32{0, 1, bad, 1}, 2, 2); err == nil || !strings.Contains(err.Error(), "row 1") {
			t.Errorf("%v: want an error that names row 1, got %v", bad, err)
		}
	}
}
