package cpu

import (
	"math"
	"testing"
	"unsafe"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// Two rows of width 2 and a vocabulary of 3, worked by hand: without eps the
// norm of (3, 4) is (3, 4)/sqrt(12.5), and that of (1, -1) is itself.
func TestLogitReductions(t *testing.T) {
	d, err := New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	place := func(shape []int, x ...float32) device.Weight {
		w, err := d.Place(checkpoint.Tensor{Name: "w", DType: checkpoint.F32, Shape: shape, Data: unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), 4*len(x))}, device.PlaceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	head := func(w, x []float32) device.LMHead {
		b := &buffer{x, 2, 2}
		return device.LMHead{X: b, Norm: place([]int{2}, 1, 1), W: place([]int{3, 2}, w...)}
	}
	s := math.Sqrt(12.5)
	p := head([]float32{1, 0, 0, 1, 1, 1}, []float32{3, 4, 1, -1}) // logits (3, 4, 7)/s and (1, -1, 0)
	q := head([]float32{1, 0, 1, 0, 0, 0}, []float32{1, 1, 1, -1}) // logits (1, 1, 0) twice
	tokens := make([]int, 2)
	d.Argmax(tokens, p, []int{0, 1})
	if tokens[0] != 2 || tokens[1] != 0 {
		t.Errorf("argmax: want 2 and 0, got %v", tokens)
	}
	nll := make([]float64, 1)
	d.NLL(nll, p, []int{1}, []int{2})
	e := math.E
	near := func(what string, want, got float64) {
		if math.Abs(want-got) > 1e-6 {
			t.Errorf("%s: want %v, got %v", what, want, got)
		}
	}
	near("nll", math.Log(e+1/e+1), nll[0])
	div := make([]device.Divergence, 2)
	d.CompareLogits(div, p, q, []int{0, 1})
	near("cosine of row 0", 7/s/(math.Sqrt(74.)/s*math.Sqrt2), div[0].Cosine)
	near("cosine of row 1", 0, div[1].Cosine)
	zp, zq := math.Log(e+1/e+1), math.Log(2*e+1)
	kl := (e*((1-zp)-(1-zq)) + 1/e*((-1-zp)-(1-zq)) + (-zp + zq)) / (e + 1/e + 1)
	near("kl of row 1", kl, div[1].KL)
	if div[0].SameArgmax || !div[1].SameArgmax {
		t.Errorf("same: want false and true (a tie takes the lower), got %v %v", div[0].SameArgmax, div[1].SameArgmax)
	}
}
