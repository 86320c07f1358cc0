package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	kernel "mop/kernels/cpu"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/reference"
	"mop/runtime/random"
)

// gradientTest is a device under test and the numbers that it works on.
type gradientTest struct {
	t *testing.T
	d *Device
	r *rand.Rand
}

func newGradientTest(t *testing.T, threads int) *gradientTest {
	d, err := New(threads)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return &gradientTest{t, d, rand.New(rand.NewPCG(5, uint64(6)))}
}

// guard stands behind every buffer of a test; nothing may write to it.
const guard = 7.25

// buffer makes a random buffer, with guards, and its numbers in float64.
func (b *gradientTest) buffer(rows, cols int) (device.Buffer, []float64) {
	x := make([]float32, rows*cols+8)
	wide := make([]float64, rows*cols)
	for i := range x {
		x[i] = guard
		if i < len(wide) {
			x[i] = float32(b.r.NormFloat64())
			wide[i] = float64(x[i])
		}
	}
	return &buffer{x[:rows*cols], rows, cols}, wide
}

// weight makes a random matrix of a type, and its numbers in float64.
func (b *gradientTest) weight(t checkpoint.DType, shape ...int) (device.Weight, []float64) {
	n := 1
	for _, s := range shape {
		n *= s
	}
	bytes := make([]byte, n*t.Size())
	for i := range n {
		checkpoint.Encode(bytes[i*t.Size():], t, float32(b.r.NormFloat64()))
	}
	w, err := b.d.Place(checkpoint.Tensor{Name: "w", DType: t, Shape: shape, Data: bytes}, device.PlaceOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	wide := make([]float64, n)
	line := make([]float32, n)
	for i, v := range asWeight(w).widen(0, line, 0, n) {
		wide[i] = float64(v)
	}
	return w, wide
}

// compare holds a buffer to the reference: length is how many numbers make an
// element, top the size of the products.
func (b *gradientTest) compare(name string, got device.Buffer, want []float64, length int) {
	b.t.Helper()
	x := data(got).data
	top := 1.0
	for _, w := range want {
		top = max(top, math.Abs(w))
	}
	tolerance := 3e-7 * math.Sqrt(float64(length)+16) * top
	worst, at := 0.0, 0
	for i, w := range want {
		if d := math.Abs(w - float64(x[i])); !(d <= worst) {
			worst, at = d, i
		}
	}
	if !(worst <= tolerance) {
		b.t.Errorf("%s: element %d: want %v, got %v, %.1f of the tolerance", name, at, want[at], x[at], worst/tolerance)
	}
	for _, v := range x[len(x):min(cap(x), len(x)+8)] {
		if v != guard {
			b.t.Errorf("%s: wrote behind its end", name)
		}
	}
}

var types = []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16}

// Project and its gradients against the formulas, with and without an adapter, at
// odd sizes.
func TestLinearGradients(t *testing.T) {
	for i, s := range [][4]int{{1, 1, 1, 1}, {3, 5, 7, 2}, {37, 48, 31, 8}, {130, 29, 300, 3}, {7, 530, 97, 5}, {97, 61, 530, 32}} {
		n, out, in, rank := s[0], s[1], s[2], s[3]
		for _, c := range []struct {
			drop  float64
			round bool
		}{{0, false}, {0.3, false}, {0, true}, {0.3, true}} {
			drop := c.drop
			t.Run(fmt.Sprint(s, c), func(t *testing.T) {
				b := newGradientTest(t, 1+i%3)
				dt := types[i%3]
				if c.round {
					dt = checkpoint.BF16
				}
				w, w64 := b.weight(dt, out, in)
				asWeight(w).round = c.round
				x, x64 := b.buffer(n, in)
				y, y64 := b.buffer(n, out)
				u, _ := b.buffer(n, rank)
				dx, dx64 := b.buffer(n, in)
				dw, dw64 := b.buffer(out, in)
				ad := &device.Adapter{Scale: 0.7}
				var a64, b64, da64, db64 []float64
				ad.A, a64 = b.buffer(rank, in)
				ad.B, b64 = b.buffer(out, rank)
				ad.DA, da64 = b.buffer(rank, in)
				ad.DB, db64 = b.buffer(out, rank)
				ad.Drop = device.Dropout{Probability: drop, Keys: []uint64{11, 12}, Spans: []device.Span{{Row: 0, Len: n / 2}, {Row: n / 2, Len: n - n/2}}}
				dropped := slices.Clone(x64)
				mask := make([]float64, len(x64))
				for row := range n {
					key, r := uint64(11), row
					if row >= n/2 {
						key, r = 12, row-n/2
					}
					for c := range in {
						e := uint64(r*in + c)
						if drop == 0 || uint32(random.Word(key, e/2)>>(32*(e%2))) >= uint32(drop*(1<<32)) {
							mask[row*in+c] = 1 / (1 - drop)
						}
						dropped[row*in+c] *= mask[row*in+c]
					}
				}
				u64, z, base := make([]float64, n*rank), make([]float64, n*out), make([]float64, n*out)
				reference.Linear(u64, dropped, a64, n, rank, in)
				reference.Linear(z, u64, b64, n, out, rank)
				reference.Linear(base, asBF16(x64, c.round), w64, n, out, in)
				dy := slices.Clone(y64)
				for i := range y64 {
					y64[i] += base[i] + 0.7*z[i]
				}
				dyb := &buffer{slices.Clone(data(y).data), n, out}
				b.d.LinearForward(y, u, x, n, w, ad, true)
				b.compare("y", y, y64, in+rank*in)
				b.compare("u", u, u64, in)

				dz := slices.Clone(dy)
				for i := range dz {
					dz[i] *= 0.7
				}
				du, dd := make([]float64, n*rank), make([]float64, n*in)
				reference.LinearBackward(make([]float64, n*in), dw64, dy, x64, w64, n, out, in)
				reference.LinearBackward(dx64, make([]float64, out*in), asBF16(dy, c.round), x64, w64, n, out, in)
				reference.LinearBackward(du, db64, dz, u64, b64, n, out, rank)
				reference.LinearBackward(dd, da64, du, dropped, a64, n, rank, in)
				for i := range dd {
					dx64[i] += dd[i] * mask[i]
				}
				before := slices.Clone(data(dx).data)
				b.d.LinearBackward(dx, dw, dyb, x, u, n, w, ad, true)
				b.compare("x'", dx, dx64, out+rank*out)
				// What is set instead of added is the same without what was there before.
				again, _ := b.buffer(n, in)
				for i, v := range before {
					dx64[i] -= float64(v)
				}
				other := &device.Adapter{A: ad.A, B: ad.B, Scale: ad.Scale, Drop: ad.Drop}
				other.DA, _ = b.buffer(rank, in)
				other.DB, _ = b.buffer(out, rank)
				b.d.LinearBackward(again, nil, dyb, x, u, n, w, other, false)
				b.compare("x' set", again, dx64, out+rank*out)
				b.compare("w'", dw, dw64, n)
				b.compare("A'", ad.DA, da64, n*out)
				b.compare("B'", ad.DB, db64, n*in)
			})
		}
	}
}

// asBF16 is x as bfloat16 numbers, or as it is.
func asBF16(x []float64, round bool) []float64 {
	if !round {
		return x
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(kernel.FromBF16(kernel.ToBF16(float32(v))))
	}
	return out
}

func TestNormSwiGLURoPEGradients(t *testing.T) {
	b := newGradientTest(t, 2)
	n, D := 21, 37
	w, w64 := b.weight(checkpoint.BF16, D)
	x, x64 := b.buffer(n, D)
	y, dy64 := b.buffer(n, D)
	r, _ := b.buffer(n, 1)
	dy := &buffer{slices.Clone(data(y).data), n, D}
	dx, dx64 := b.buffer(n, D)
	dw, dw64 := b.buffer(1, D)
	y64 := make([]float64, n*D)
	reference.Norm(y64, x64, w64, n, D, 1e-5)
	b.d.NormForward(y, r, x, n, w, 1e-5)
	b.compare("norm", y, y64, D)
	reference.NormBackward(dx64, dw64, dy64, x64, w64, n, D, 1e-5)
	b.d.NormBackward(dx, dw, dy, x, r, n, w)
	b.compare("norm x'", dx, dx64, D)
	b.compare("norm w'", dw, dw64, n)

	g, g64 := b.buffer(n, D)
	u, u64 := b.buffer(n, D)
	m, m64 := b.buffer(n, D)
	dm := &buffer{slices.Clip(slices.Clone(data(m).data)), n, D}
	dg64, du64 := make([]float64, n*D), make([]float64, n*D)
	reference.SwiGLUBackward(dg64, du64, m64, g64, u64)
	reference.SwiGLU(m64, g64, u64)
	b.d.SwiGLU(m, g, u, n)
	b.compare("gate", m, m64, 1)
	du, _ := b.buffer(n, D)
	b.d.SwiGLUBackward(dm, du, dm, g, u, n)
	b.compare("gate g'", dm, dg64, 1)
	b.compare("gate u'", du, du64, 1)

	rope := device.RoPEFrequencies{InvFreq: []float32{1, 0.1, 0.01}}
	z, z64 := b.buffer(n, 4*6)
	spans := []device.Span{{Row: 0, Len: 9}, {Row: 9, Len: 12}}
	reference.RoPE(z64[:9*24], 9, 4, 6, rope.InvFreq, 1)
	reference.RoPE(z64[9*24:], 12, 4, 6, rope.InvFreq, 1)
	before := slices.Clone(data(z).data)
	b.d.RoPE(z, 6, rope, spans, false)
	b.compare("rotate", z, z64, 1)
	b.d.RoPE(z, 6, rope, spans, true)
	for i := range before {
		z64[i] = float64(before[i])
	}
	b.compare("rotate back", z, z64, 1)
}

// Attention and its gradients against the formulas, several sequences in one
// call, each on its own.
func TestAttentionGradients(t *testing.T) {
	for i, s := range []struct {
		hs   device.AttentionShape
		lens []int
	}{{device.AttentionShape{H: 3, K: 3, Dh: 8}, []int{5, 1, 17}}, {device.AttentionShape{H: 6, K: 2, Dh: 16}, []int{101, 40}}, {device.AttentionShape{H: 29, K: 29, Dh: 4}, []int{33}}, {device.AttentionShape{H: 4, K: 1, Dh: 64}, []int{200}}, {device.AttentionShape{H: 1, K: 1, Dh: 2}, []int{1}}} {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			b := newGradientTest(t, 1+i%3)
			n := 0
			var spans []device.Span
			for _, l := range s.lens {
				spans = append(spans, device.Span{Row: n, Len: l})
				n += l
			}
			h, k, dh := s.hs.H, s.hs.K, s.hs.Dh
			q, q64 := b.buffer(n, h*dh)
			kk, k64 := b.buffer(n, k*dh)
			v, v64 := b.buffer(n, k*dh)
			a, _ := b.buffer(n, h*dh)
			stats, _ := b.buffer(n, h)
			da, da64 := b.buffer(n, h*dh)
			dq, dq64 := b.buffer(n, h*dh)
			dk, dk64 := b.buffer(n, k*dh)
			dv, dv64 := b.buffer(n, k*dh)
			for _, v := range [][]float64{dq64, dk64, dv64} { // what was there before counts for nothing
				clear(v)
			}
			a64, s64 := make([]float64, n*h*dh), make([]float64, n*h)
			for _, p := range spans {
				qo, ko, so := p.Row*h*dh, p.Row*k*dh, p.Row*h
				reference.Attention(a64[qo:], s64[so:], q64[qo:], k64[ko:], v64[ko:], p.Len, h, k, dh)
				reference.AttentionBackward(dq64[qo:], dk64[ko:], dv64[ko:], da64[qo:], a64[qo:], s64[so:], q64[qo:], k64[ko:], v64[ko:], p.Len, h, k, dh)
			}
			b.d.AttentionForward(a, stats, q, kk, v, s.hs, spans)
			b.compare("a", a, a64, n)
			b.compare("stats", stats, s64, n)
			b.d.AttentionBackward(dq, dk, dv, da, a, stats, q, kk, v, s.hs, spans)
			b.compare("q'", dq, dq64, n*dh)
			b.compare("k'", dk, dk64, n*dh)
			b.compare("v'", dv, dv64, n*dh)
		})
	}
}

func TestCrossEntropy(t *testing.T) {
	b := newGradientTest(t, 2)
	n, V, D := 300, 41, 24 // more rows than are taken at a time
	w, w64 := b.weight(checkpoint.F16, V, D)
	x, x64 := b.buffer(n, D)
	dx, _ := b.buffer(n, D)
	dw, dw64 := b.buffer(V, D)
	targets, scale, scale64 := make([]int, n), make([]float32, n), make([]float64, n)
	for i := range targets {
		targets[i], scale[i] = b.r.IntN(V), float32(b.r.Float64())
		scale64[i] = float64(scale[i])
	}
	z, dz := make([]float64, n*V), make([]float64, n*V)
	reference.Linear(z, x64, w64, n, V, D)
	want, got := make([]float64, n), make([]float64, n)
	reference.CrossEntropy(want, dz, z, targets, scale64, V)
	dx64 := make([]float64, n*D)
	reference.LinearBackward(dx64, dw64, dz, x64, w64, n, V, D)
	b.d.CrossEntropy(got, dx, dw, x, w, targets, scale)
	for i := range want {
		if math.Abs(want[i]-got[i]) > 1e-5 {
			t.Fatalf("row %d: want %v, got %v", i, want[i], got[i])
		}
	}
	b.compare("x'", dx, dx64, V)
	b.compare("w'", dw, dw64, n)
	again := make([]float64, n)
	b.d.CrossEntropy(again, nil, nil, x, w, targets, nil)
	if !slices.Equal(got, again) {
		t.Error("the losses alone differ from those with gradients")
	}
}

func TestAdamW(t *testing.T) {
	b := newGradientTest(t, 2)
	n := 5000
	p, p64 := b.buffer(1, n)
	m, m64 := b.buffer(1, n)
	v, v64 := b.buffer(1, n)
	for i := range v64 {
		v64[i] *= v64[i]
		data(v).data[i] = float32(v64[i])
	}
	s := device.AdamW{LearningRate: 1e-2, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1, Clip: 0.3}
	for s.Step = 1; s.Step < 6; s.Step++ {
		g, g64 := b.buffer(1, n)
		sum := 0.0
		for _, x := range g64 {
			sum += x * x
		}
		if got := b.d.SumSquares(g, g) / 2; math.Abs(got-sum) > 1e-9*sum {
			t.Errorf("sum of squares: want %v, got %v", sum, got)
		}
		reference.AdamW(p64, g64, m64, v64, s.LearningRate, s.Beta1, s.Beta2, s.Eps, s.WeightDecay, s.Clip, s.Step)
		b.d.AdamW(p, g, m, v, s)
	}
	b.compare("p", p, p64, 100)
	b.compare("m", m, m64, 100)
	b.compare("v", v, v64, 100)
}

// The same bits at any number of threads.
func TestTrainingThreads(t *testing.T) {
	var first []float32
	for threads := 1; threads <= 4; threads++ {
		b := newGradientTest(t, threads)
		n, D, I := 130, 60, 90
		hs := device.AttentionShape{H: 6, K: 3, Dh: 10}
		x, _ := b.buffer(n, D)
		w, _ := b.weight(checkpoint.BF16, I, D)
		y, _ := b.buffer(n, I)
		dx, _ := b.buffer(n, D)
		dw, _ := b.buffer(I, D)
		b.d.LinearForward(y, nil, x, n, w, nil, false)
		b.d.LinearBackward(dx, dw, y, x, nil, n, w, nil, true)
		kk, _ := b.buffer(n, 30)
		v, _ := b.buffer(n, 30)
		a, _ := b.buffer(n, D)
		st, _ := b.buffer(n, 6)
		dk, _ := b.buffer(n, 30)
		dv, _ := b.buffer(n, 30)
		spans := []device.Span{{Row: 0, Len: 100}, {Row: 100, Len: 30}}
		b.d.AttentionForward(a, st, x, kk, v, hs, spans)
		b.d.AttentionBackward(dx, dk, dv, a, a, st, x, kk, v, hs, spans)
		all := slices.Concat(data(y).data, data(dx).data, data(dw).data, data(a).data, data(dk).data, data(dv).data, []float32{float32(b.d.SumSquares(dw))})
		if first == nil {
			first = all
		}
		if !slices.Equal(first, all) {
			t.Errorf("%d threads: other bits than 1", threads)
		}
	}
}

func BenchmarkGEMM(b *testing.B) {
	d, _ := New(0)
	defer d.Close()
	m, n, k := 512, 2048, 2048
	x, w, y := make([]float32, m*k), make([]uint16, n*k), make([]float32, m*n)
	for b.Loop() {
		d.product(y, n, m, n, k, rowMajor(x, k), matrixView{bf16: w, row: k, col: 1, scale: 1}.transposed(), false)
	}
	b.ReportMetric(2*float64(m*n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

func BenchmarkGEMMOfTransposed(b *testing.B) {
	d, _ := New(0)
	defer d.Close()
	m, n, k := 512, 2048, 2048
	x, w, y := make([]float32, m*k), make([]uint16, n*k), make([]float32, m*n)
	for b.Loop() {
		d.product(y, n, m, n, k, rowMajor(x, k), matrixView{bf16: w, row: n, col: 1, scale: 1}, false)
	}
	b.ReportMetric(2*float64(m*n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
