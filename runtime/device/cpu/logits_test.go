package cpu

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	kernel "mop/kernels/cpu"
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

// exactKL is the KL divergence by its definition, in float64.
func exactKL(p, q []float32) (kl float64) {
	lp, lq := logSumExp(p), logSumExp(q)
	for i := range p {
		kl += math.Exp(float64(p[i])-lp) * ((float64(p[i]) - lp) - (float64(q[i]) - lq))
	}
	return kl
}

func TestDivergence(t *testing.T) {
	for _, name := range []string{"auto", "generic"} {
		t.Run(name, func(t *testing.T) { testDivergence(t, name) })
	}
}

func testDivergence(t *testing.T, kernels string) {
	set, err := kernel.Choose(kernels)
	if err != nil {
		t.Fatal(err)
	}
	d := &Device{set: set}
	r := rand.New(rand.NewPCG(1, 2))
	const V = 49_153
	p, q := make([]float32, V), make([]float32, V)
	for _, scale := range []float32{0, 1e-3, 0.1, 3} {
		for i := range p {
			p[i] = 4 * float32(r.NormFloat64())
			q[i] = p[i] + scale*float32(r.NormFloat64())
		}
		want, got := exactKL(p, q), d.divergence(p, q).KL
		if math.Abs(want-got) > 1e-7+1e-6*want {
			t.Errorf("logits that differ by %v: want KL %v, got %v", scale, want, got)
		}
		if scale == 0 && got != 0 {
			t.Errorf("equal logits: want KL 0, got %v", got)
		}
	}
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		for _, z := range [][]float32{p, q} {
			keep := z[V/2]
			z[V/2] = bad
			if got := d.divergence(p, q).KL; got == got {
				t.Errorf("a logit of %v: want KL NaN, got %v", bad, got)
			}
			z[V/2] = keep
		}
	}
}

func BenchmarkDivergence(b *testing.B) {
	set, err := kernel.Choose("auto")
	if err != nil {
		b.Fatal(err)
	}
	d := &Device{set: set}
	p, q := make([]float32, 49_152), make([]float32, 49_152)
	for i := range p {
		p[i], q[i] = float32(i%97)/10, float32(i%89)/10
	}
	for b.Loop() {
		d.divergence(p, q)
	}
}
