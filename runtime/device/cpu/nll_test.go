package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	kernel "mop/kernels/cpu"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

func floats(t *testing.T, d *Device, shape []int, x []float32) device.Weight {
	t.Helper()
	w, err := d.Place(checkpoint.Tensor{Name: "w", DType: checkpoint.F32, Shape: shape, Data: unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), 4*len(x))}, device.PlaceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// The reduction of logits as they are computed gives what whole rows of logits give, on any
// number of threads the same bits, whatever rows are asked for together.
func TestNLLEqualsWholeLogits(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	random := func(n int, scale float64) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(scale * rng.NormFloat64())
		}
		return x
	}
	for _, c := range []struct{ V, D, N int }{{1, 1, 1}, {7, 3, 5}, {127, 16, 17}, {128, 9, 12}, {129, 33, 40}, {1000, 64, 100}, {515, 1, 3}} {
		head, norm, x := random(c.V*c.D, 3), random(c.D, 1), random(c.N*c.D, 1)
		var rows, targets []int
		for range 3 * c.N {
			row := rng.IntN(c.N)
			for range 1 + rng.IntN(3) {
				rows, targets = append(rows, row), append(targets, rng.IntN(c.V))
			}
		}
		var first []float64
		for _, threads := range []int{1, 2, 5} {
			d, err := New(threads)
			if err != nil {
				t.Fatal(err)
			}
			h := device.LMHead{X: &buffer{x, c.N, c.D}, Norm: floats(t, d, []int{c.D}, norm), W: floats(t, d, []int{c.V, c.D}, head), Eps: 1e-5}
			got, want := make([]float64, len(rows)), make([]float64, len(rows))
			d.NLL(got, h, rows, targets)
			d.decodeNLL(want, h, rows, targets)
			for i := range got {
				if math.Abs(got[i]-want[i]) > 2e-6*(1+math.Abs(want[i])) {
					t.Errorf("%+v: row %d: want %v, got %v", c, rows[i], want[i], got[i])
				}
			}
			if first == nil {
				first = got
			}
			one := make([]float64, 1)
			d.NLL(one, h, rows[1:2], targets[1:2])
			if !slices.Equal(first, got) || one[0] != got[1] {
				t.Errorf("%+v: %d threads, or one row alone: want the same bits", c, threads)
			}
			d.Close()
		}
	}
}

// A logit that is not finite makes the likelihood not finite, with all kernels.
func TestNLLNotFinite(t *testing.T) {
	for _, name := range kernel.Names() {
		d, err := Open(Options{Threads: 1, Kernels: name})
		if err != nil {
			continue // not on this processor
		}
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			head := make([]float32, 300)
			head[133] = float32(bad)
			h := device.LMHead{X: &buffer{[]float32{2}, 1, 1}, Norm: floats(t, d, []int{1}, []float32{1}), W: floats(t, d, []int{300, 1}, head)}
			nll := make([]float64, 1)
			if d.NLL(nll, h, []int{0}, []int{5}); nll[0]-nll[0] == 0 {
				t.Errorf("%s: a weight of %v: want a result that is not finite, got %v", name, bad, nll[0])
			}
		}
		d.Close()
	}
}
