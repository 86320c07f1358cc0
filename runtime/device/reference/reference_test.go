package reference

import (
	"math"
	"math/rand/v2"
	"testing"
)

// normals draws n numbers of deviation 1.
func normals(r *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = r.NormFloat64()
	}
	return x
}

func dot(a, b []float64) (s float64) {
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

// slope holds the gradient of loss by x to central differences, element by
// element.
func slope(t *testing.T, name string, x, gradient []float64, loss func() float64) {
	t.Helper()
	const h = 1e-5
	some := false
	for i := range x {
		old := x[i]
		x[i] = old + h
		up := loss()
		x[i] = old - h
		want := (up - loss()) / (2 * h)
		x[i] = old
		some = some || want != 0
		if d := math.Abs(want - gradient[i]); !(d <= 1e-7*max(1, math.Abs(want))) {
			t.Errorf("%s: element %d: want %v, got %v", name, i, want, gradient[i])
			return
		}
	}
	if !some {
		t.Errorf("%s: nothing depends on it", name)
	}
}

// Every gradient is the slope of its forward operation, in float64.
func TestFiniteDifferences(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	t.Run("linear", func(t *testing.T) {
		n, out, in := 3, 5, 7
		x, w, c := normals(r, n*in), normals(r, out*in), normals(r, n*out)
		y := make([]float64, n*out)
		loss := func() float64 { Linear(y, x, w, n, out, in); return dot(c, y) }
		dx, dw := make([]float64, len(x)), make([]float64, len(w))
		LinearBackward(dx, dw, c, x, w, n, out, in)
		slope(t, "x", x, dx, loss)
		slope(t, "w", w, dw, loss)
	})
	t.Run("norm", func(t *testing.T) {
		n, d := 3, 7
		x, w, c := normals(r, n*d), normals(r, d), normals(r, n*d)
		y := make([]float64, n*d)
		loss := func() float64 { Norm(y, x, w, n, d, 1e-2); return dot(c, y) }
		dx, dw := make([]float64, len(x)), make([]float64, len(w))
		NormBackward(dx, dw, c, x, w, n, d, 1e-2)
		slope(t, "x", x, dx, loss)
		slope(t, "w", w, dw, loss)
	})
	t.Run("rotate", func(t *testing.T) {
		n, heads, dh := 5, 3, 4
		x, c := normals(r, n*heads*dh), normals(r, n*heads*dh)
		freq := []float32{1, 0.3}
		y := make([]float64, len(x))
		loss := func() float64 { copy(y, x); RoPE(y, n, heads, dh, freq, 1); return dot(c, y) }
		dx := append([]float64(nil), c...)
		RoPE(dx, n, heads, dh, freq, -1)
		slope(t, "x", x, dx, loss)
	})
	for _, s := range [][2]int{{3, 3}, {6, 2}, {4, 1}, {1, 1}} {
		t.Run("attend", func(t *testing.T) {
			n, heads, kv, dh := 5, s[0], s[1], 4
			q, k, v, c := normals(r, n*heads*dh), normals(r, n*kv*dh), normals(r, n*kv*dh), normals(r, n*heads*dh)
			a, stats := make([]float64, len(q)), make([]float64, n*heads)
			loss := func() float64 { Attention(a, stats, q, k, v, n, heads, kv, dh); return dot(c, a) }
			loss()
			dq, dk, dv := make([]float64, len(q)), make([]float64, len(k)), make([]float64, len(v))
			AttentionBackward(dq, dk, dv, c, a, stats, q, k, v, n, heads, kv, dh)
			slope(t, "q", q, dq, loss)
			slope(t, "k", k, dk, loss)
			slope(t, "v", v, dv, loss)
		})
	}
	t.Run("gate", func(t *testing.T) {
		g, u, c := normals(r, 9), normals(r, 9), normals(r, 9)
		m := make([]float64, 9)
		loss := func() float64 { SwiGLU(m, g, u); return dot(c, m) }
		dg, du := make([]float64, 9), make([]float64, 9)
		SwiGLUBackward(dg, du, c, g, u)
		slope(t, "g", g, dg, loss)
		slope(t, "u", u, du, loss)
	})
	t.Run("loss", func(t *testing.T) {
		n, v := 4, 6
		z, c := normals(r, n*v), normals(r, n)
		targets := []int{0, 5, 2, 2}
		nll := make([]float64, n)
		loss := func() float64 { CrossEntropy(nll, make([]float64, n*v), z, targets, c, v); return dot(c, nll) }
		dz := make([]float64, n*v)
		CrossEntropy(nll, dz, z, targets, c, v)
		slope(t, "z", z, dz, loss)
	})
}

// AdamW by hand: the first step moves every parameter by the rate against the
// gradient's sign, after the decay.
func TestAdamWByHand(t *testing.T) {
	p, m, v := []float64{2, -4}, make([]float64, 2), make([]float64, 2)
	AdamW(p, []float64{0.5, -8}, m, v, 0.1, 0.9, 0.999, 0, 0.5, 2, 1)
	for i, want := range []float64{2*0.95 - 0.1, -4*0.95 + 0.1} {
		if math.Abs(p[i]-want) > 1e-12 {
			t.Errorf("parameter %d: want %v, got %v", i, want, p[i])
		}
	}
	if math.Abs(m[0]-0.1) > 1e-12 || math.Abs(v[1]-0.001*256) > 1e-12 {
		t.Errorf("moments: got %v, %v", m, v)
	}
}
