//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
)

// devicePair runs operations of training on the host and on the device over the same
// numbers.
type devicePair struct {
	t    *testing.T
	host *cpu.Device
	dev  *Device
	r    *rand.Rand
}

func newDevicePair(t *testing.T, seed, order uint64) *devicePair {
	return newDevicePairOfSet(t, seed, order, sets(t)[0])
}

// newDevicePairOfSet is newDevicePair with a set of kernels.
func newDevicePairOfSet(t *testing.T, seed, order uint64, set string) *devicePair {
	t.Helper()
	host, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	return &devicePair{t, host, openSet(t, order, set), rand.New(rand.NewPCG(seed, 7))}
}

// bufferPair is a buffer on either device, of whose rows an operation is given n.
type bufferPair struct {
	host, dev device.Buffer
	n         int
}

// guardRows are rows behind those that an operation is given; it must leave them, and
// the padding of every row, as they were.
const guardRows, guardValue = 2, 7.25

// floats makes a buffer of n rows of normal numbers, and guards.
func (w *devicePair) floats(n, cols int) bufferPair {
	w.t.Helper()
	v := make([]float32, (n+guardRows)*cols)
	for i := range v {
		if v[i] = guardValue; i < n*cols {
			v[i] = float32(w.r.NormFloat64())
		}
	}
	b := w.bufferPair(n+guardRows, cols, v)
	b.n = n
	return b
}

func (w *devicePair) bufferPair(rows, cols int, v []float32) (b bufferPair) {
	w.t.Helper()
	b.n = rows
	for _, s := range []struct {
		to  *device.Buffer
		dev device.Device
	}{{&b.host, w.host}, {&b.dev, w.dev}} {
		var err error
		if *s.to, err = s.dev.Buffer(rows, cols); err != nil {
			w.t.Fatal(err)
		}
		s.dev.Write(*s.to, 0, v)
	}
	return b
}

// vector makes a weight [n] of a type.
func (w *devicePair) vector(dt checkpoint.DType, n int) (host, dev device.Weight) {
	w.t.Helper()
	if dt == checkpoint.F32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(w.r.NormFloat64())
		}
		b := w.bufferPair(1, n, v)
		return w.host.Parameter(b.host, true), &weight{buffer: b.dev.(*buffer), shape: []int{n}}
	}
	m := randomMatrix(w.r, 1, n, dt)
	host, err := w.host.Place(checkpoint.Tensor{Name: "w", DType: dt, Shape: []int{n}, Data: m.bytes()}, device.PlaceOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return host, m.place(w.t, w.dev, true)
}

// rounding of what an operation computes with: float32, or tf32 on tensor cores, to 10
// bits of mantissa.
const inFloat32, inTF32 = 0x1p-24, 0x1p-11

// compare holds the device's buffer to the host's: a number may differ by the
// rounding of the terms that make it, which add up like a walk, of the buffer's
// largest; and what an operation must not touch is as it was.
func (w *devicePair) compare(name string, b bufferPair, terms int, rounding float64) {
	w.t.Helper()
	w.compareAtLeast(name, b, terms, rounding, 0)
}

// compareAtLeast is compare where terms are of a size that the sums need not reach.
func (w *devicePair) compareAtLeast(name string, b bufferPair, terms int, rounding, size float64) {
	w.t.Helper()
	rows, cols := b.host.Rows(), b.host.Cols()
	want, got := make([]float32, rows*cols), read(w.dev, b.dev)
	w.host.Read(want, b.host, 0, rows)
	largest := size
	n := b.n * cols
	for _, v := range want[:n] {
		largest = max(largest, math.Abs(float64(v)))
	}
	difference := worst{what: name}
	for i, v := range want {
		allow := rounding * (4 + math.Sqrt(float64(terms))) * largest
		if i >= n {
			allow = 0
		}
		difference.see(i/cols, i%cols, float64(v), float64(got[i]), allow+1e-30)
	}
	w.t.Logf("%s: %.0f %% of the tolerance", name, 100*difference.share)
	difference.report(w.t)
	s := b.dev.(*buffer)
	for r := range rows {
		for i, v := range download[float32](w.dev, s.row(r)+pointer(4*cols), s.pitch-cols) {
			if v != 0 {
				w.t.Fatalf("%s: row %d: padding %d was written: %v", name, r, i, v)
			}
		}
	}
}

// forEachTrainShape runs a test for every shape and order of threads.
func forEachTrainShape(t *testing.T, test func(t *testing.T, w *devicePair, N, D int, hs device.AttentionShape, I int)) {
	for i, s := range shapes {
		for _, o := range orders {
			if testing.Short() && s.N*(s.D+s.I) > 4000 {
				continue
			}
			t.Run(fmt.Sprintf("%v/%d", s, o), func(t *testing.T) {
				w := newDevicePair(t, uint64(i), o)
				test(t, w, s.N, s.D, device.AttentionShape{H: s.H, K: s.K, Dh: s.Dh}, s.I)
				if err := w.dev.Sync(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestTrainNorm(t *testing.T) {
	forEachTrainShape(t, func(t *testing.T, w *devicePair, N, D int, _ device.AttentionShape, _ int) {
		for _, dt := range []checkpoint.DType{checkpoint.BF16, checkpoint.F16, checkpoint.F32} {
			host, dev := w.vector(dt, D)
			x, y, r, dx, dy, dw := w.floats(N, D), w.floats(N, D), w.floats(N, 1), w.floats(N, D), w.floats(N, D), w.bufferPair(1, D, make([]float32, D))
			w.host.NormForward(y.host, r.host, x.host, N, host, 1e-5)
			w.dev.NormForward(y.dev, r.dev, x.dev, N, dev, 1e-5)
			w.compare("y", y, D, inFloat32)
			w.compare("r", r, D, inFloat32)
			w.host.NormBackward(dx.host, dw.host, dy.host, x.host, r.host, N, host)
			w.dev.NormBackward(dx.dev, dw.dev, dy.dev, x.dev, r.dev, N, dev)
			w.compare("x'", dx, D, inFloat32)
			w.compare("w'", dw, N+D, inFloat32)
			w.dev.NormBackward(dx.dev, nil, dy.dev, x.dev, r.dev, N, dev)
		}
	})
}

func TestTrainSwiGLU(t *testing.T) {
	forEachTrainShape(t, func(t *testing.T, w *devicePair, N, _ int, _ device.AttentionShape, I int) {
		if I == 0 {
			return
		}
		m, g, u, dm, du := w.floats(N, I), w.floats(N, I), w.floats(N, I), w.floats(N, I), w.floats(N, I)
		w.host.SwiGLU(m.host, g.host, u.host, N)
		w.dev.SwiGLU(m.dev, g.dev, u.dev, N)
		w.compare("m", m, 16, inFloat32)
		w.host.SwiGLUBackward(dm.host, du.host, dm.host, g.host, u.host, N)
		w.dev.SwiGLUBackward(dm.dev, du.dev, dm.dev, g.dev, u.dev, N)
		w.compare("g'", dm, 16, inFloat32)
		w.compare("u'", du, 16, inFloat32)
	})
}

// Rows copied, gathered, scattered, and a table's gradient whose tokens repeat.
func TestTrainRows(t *testing.T) {
	forEachTrainShape(t, func(t *testing.T, w *devicePair, N, D int, _ device.AttentionShape, _ int) {
		x, y, z := w.floats(N, D), w.floats(N, D), w.floats(N, D)
		rows, tokens := w.r.Perm(N)[:(N+1)/2], make([]int, N)
		for i := range tokens {
			tokens[i] = w.r.IntN(min(5, N))
		}
		tokens[N-1] = 0
		w.host.Copy(y.host, x.host, N)
		w.dev.Copy(y.dev, x.dev, N)
		w.compare("copy", y, 0, 0)
		w.host.Gather(z.host, x.host, rows)
		w.dev.Gather(z.dev, x.dev, rows)
		w.compare("gather", z, 0, 0)
		w.host.Clear(y.host, N)
		w.dev.Clear(y.dev, N)
		w.compare("clear", y, 0, 0)
		w.host.Scatter(y.host, z.host, rows)
		w.dev.Scatter(y.dev, z.dev, rows)
		w.compare("scatter", y, 0, 0)
		w.host.EmbedBackward(y.host, x.host, tokens)
		w.dev.EmbedBackward(y.dev, x.dev, tokens)
		w.compare("table'", y, 0, 0) // added in the same order: the same bits
		w.dev.Embed(z.dev, &weight{buffer: y.dev.(*buffer), shape: []int{N + guardRows, D}}, tokens)
		w.host.Embed(z.host, w.host.Parameter(y.host, false), tokens)
		w.compare("embed", z, 0, 0)
	})
}

// splitSpans cuts n rows into spans, one of a single row where there are several.
func splitSpans(n int) (spans []device.Span) {
	if n < 4 {
		return []device.Span{{Row: 0, Len: n}}
	}
	return []device.Span{{Row: 0, Len: n / 3}, {Row: n / 3, Len: 1}, {Row: n/3 + 1, Len: n - n/3 - 1}}
}

func TestTrainRoPE(t *testing.T) {
	forEachTrainShape(t, func(t *testing.T, w *devicePair, N, _ int, hs device.AttentionShape, _ int) {
		if hs.H == 0 {
			return
		}
		rope := device.RoPEFrequencies{InvFreq: make([]float32, hs.Dh/2)}
		for i := range rope.InvFreq {
			rope.InvFreq[i] = float32(math.Pow(1000, -float64(2*i)/float64(hs.Dh)))
		}
		x := w.floats(N, hs.H*hs.Dh)
		for _, back := range []bool{false, false, true} {
			w.host.RoPE(x.host, hs.Dh, rope, splitSpans(N), back)
			w.dev.RoPE(x.dev, hs.Dh, rope, splitSpans(N), back)
		}
		w.compare("x", x, 16, inFloat32)
	})
}

// Attention and its gradients over several spans, more than a tile of rows where the
// heads are few; each span on its own, and the same bits twice.
func TestTrainAttention(t *testing.T) {
	forEachTrainShape(t, func(t *testing.T, w *devicePair, N, _ int, hs device.AttentionShape, _ int) {
		if hs.H == 0 {
			return
		}
		n := N
		if hs.H <= 8 && !testing.Short() {
			n = N*3 + 61
		}
		H, K, Dh, spans := hs.H, hs.K, hs.Dh, splitSpans(n)
		q, k, v, a, stats := w.floats(n, H*Dh), w.floats(n, K*Dh), w.floats(n, K*Dh), w.floats(n, H*Dh), w.floats(n, H)
		da, dq, dk, dv := w.floats(n, H*Dh), w.floats(n, H*Dh), w.floats(n, K*Dh), w.floats(n, K*Dh)
		w.host.AttentionForward(a.host, stats.host, q.host, k.host, v.host, hs, spans)
		w.dev.AttentionForward(a.dev, stats.dev, q.dev, k.dev, v.dev, hs, spans)
		w.compare("a", a, Dh, inTF32)
		w.compare("stats", stats, Dh, inTF32)
		before := read(w.dev, dk.dev)
		w.host.AttentionBackward(dq.host, dk.host, dv.host, da.host, a.host, stats.host, q.host, k.host, v.host, hs, spans)
		w.dev.AttentionBackward(dq.dev, dk.dev, dv.dev, da.dev, a.dev, stats.dev, q.dev, k.dev, v.dev, hs, spans)
		// The deviation of (a'.v - a.a')/sqrt(Dh) is about 1 for normal operands. Its rounding stays
		// where terms cancel: of a query that sees one key, q' and k' are 0.
		w.compareAtLeast("q'", dq, Dh, inTF32, 1)
		w.compareAtLeast("k'", dk, Dh, inTF32, 1)
		w.compare("v'", dv, Dh, inTF32)
		// The same bits twice, in another order of threads.
		first := read(w.dev, dk.dev)
		w.dev.Write(dk.dev, 0, before)
		w.dev.AttentionBackward(dq.dev, dk.dev, dv.dev, da.dev, a.dev, stats.dev, q.dev, k.dev, v.dev, hs, spans)
		if !slices.Equal(first, read(w.dev, dk.dev)) {
			t.Error("k': other bits the second time")
		}
		w.compareLastSpan(q, k, v, a, stats, hs, spans)
	})
}

// compareLastSpan holds the last span's rows to the bits that they have without the others.
func (w *devicePair) compareLastSpan(q, k, v, a, stats bufferPair, hs device.AttentionShape, spans []device.Span) {
	w.t.Helper()
	last := spans[len(spans)-1]
	part := func(b bufferPair) device.Buffer {
		all := read(w.dev, b.dev)
		return w.bufferPair(last.Len, b.dev.Cols(), all[last.Row*b.dev.Cols():(last.Row+last.Len)*b.dev.Cols()]).dev
	}
	a1 := w.floats(last.Len, hs.H*hs.Dh).dev
	w.dev.AttentionForward(a1, part(stats), part(q), part(k), part(v), hs, []device.Span{{Row: 0, Len: last.Len}})
	if got, want := read(w.dev, a1)[:last.Len*a1.Cols()], read(w.dev, a.dev)[last.Row*a1.Cols():][:last.Len*a1.Cols()]; !slices.Equal(got, want) {
		w.t.Error("a: a span alone has other bits")
	}
}

func TestTrainAdamW(t *testing.T) {
	forEachTrainShape(t, func(t *testing.T, w *devicePair, N, D int, _ device.AttentionShape, _ int) {
		buffer := func() bufferPair {
			v := make([]float32, N*D)
			for i := range v {
				v[i] = float32(w.r.NormFloat64())
			}
			return w.bufferPair(N, D, v)
		}
		p, m, v := buffer(), w.bufferPair(N, D, make([]float32, N*D)), w.bufferPair(N, D, make([]float32, N*D))
		s := device.AdamW{LearningRate: 1e-2, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1, Clip: 0.3}
		for s.Step = 1; s.Step < 4; s.Step++ {
			g := buffer()
			if want, got := w.host.SumSquares(g.host, p.host), w.dev.SumSquares(g.dev, p.dev); math.Abs(want-got) > 1e-12*want {
				t.Errorf("sum of squares: want %v, got %v", want, got)
			}
			w.host.AdamW(p.host, g.host, m.host, v.host, s)
			w.dev.AdamW(p.dev, g.dev, m.dev, v.dev, s)
		}
		w.compare("p", p, 16, inFloat32)
		w.compare("m", m, 16, inFloat32)
		w.compare("v", v, 16, inFloat32)
	})
}

// What an operation cannot take is refused before anything is launched, with the
// operation, what it wants and what it got; the failure is kept.
func TestTrainRefusesWrongOperands(t *testing.T) {
	hs := device.AttentionShape{H: 2, K: 1, Dh: 4}
	for want, run := range map[string]func(d *Device, x, y, half device.Buffer){
		"swiglu: u: want [3 8], got [3 4]":              func(d *Device, x, y, _ device.Buffer) { d.SwiGLU(x, x, y, 3) },
		"swiglu: m: want [4 8], got [3 8]":              func(d *Device, x, _, _ device.Buffer) { d.SwiGLU(x, x, x, 4) },
		"copy: from: want [2 8], got no float32 buffer": func(d *Device, x, _, half device.Buffer) { d.Copy(x, half, 2) },
		"gather: want an index below 3, got 3":          func(d *Device, x, _, _ device.Buffer) { d.Gather(x, x, []int{0, 3}) },
		"scatter: want each row once, got 1 again":      func(d *Device, x, _, _ device.Buffer) { d.Scatter(x, x, []int{1, 1}) },
		"attention forward: v: want [3 4], got [3 8]": func(d *Device, x, y, _ device.Buffer) {
			d.AttentionForward(x, d.narrowBuffer(3, 2), x, y, x, hs, splitSpans(3))
		},
		"attention forward: want spans one after the other": func(d *Device, x, y, _ device.Buffer) {
			d.AttentionForward(x, x, x, y, y, hs, []device.Span{{Row: 1, Len: 1}, {Row: 0, Len: 1}})
		},
		"rope: want heads of width 2, got rows of 8, heads of": func(d *Device, x, _, _ device.Buffer) {
			d.RoPE(x, 4, device.RoPEFrequencies{InvFreq: []float32{1}}, splitSpans(3), false)
		},
		"adamw: want four buffers [3 8] and a step from 1": func(d *Device, x, _, _ device.Buffer) { d.AdamW(x, x, x, x, device.AdamW{}) },
	} {
		d := open(t, orders[0])
		x, y := floats(t, d, 3, 8, nil), floats(t, d, 3, 4, nil)
		run(d, x, y, emptyInner(t, d, 3, 8))
		err := d.Sync()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
		d.Clear(x, 1)
		if again := d.Sync(); again != err {
			t.Errorf("want the first failure again, got %v", again)
		}
		d.err = nil // on a GPU the device is that of all tests
	}
}

// narrowBuffer is a buffer for a call that is to fail for another reason.
func (d *Device) narrowBuffer(rows, cols int) device.Buffer {
	b, err := d.Buffer(rows, cols)
	d.fail(err)
	return b
}
