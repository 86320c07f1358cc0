package cpu

import (
	"fmt"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/reference"
)

// Each operation agrees with its reference over sizes with 1, primes and those of CLIP.
func TestVisionOperations(t *testing.T) {
	for _, threads := range []int{1, 3} {
		for _, c := range []struct{ n, in, out, heads, dh int }{
			{1, 1, 1, 1, 1}, {5, 588, 64, 1, 8}, {50, 24, 37, 3, 7}, {197, 64, 129, 2, 64}, {97, 130, 256, 2, 40},
		} {
			t.Run(fmt.Sprintf("%d/%v", threads, c), func(t *testing.T) {
				b := newGradientTest(t, threads)
				x, hx := b.buffer(c.n, c.in)
				gain, hgain := b.weight(checkpoint.F32, c.in)
				shift, hshift := b.weight(checkpoint.F16, c.in)
				want := make([]float64, c.n*c.in)
				y, _ := b.buffer(c.n, c.in)
				reference.LayerNorm(want, hx, hgain, hshift, c.n, c.in, 1e-5)
				b.d.LayerNorm(y, x, c.n, gain, shift, 1e-5)
				b.compare("layer norm", y, want, c.in)

				for _, dt := range []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16} {
					w, hw := b.weight(dt, c.out, c.in)
					bias, hbias := b.weight(checkpoint.F32, c.out)
					linear := make([]float64, c.n*c.out)
					reference.Linear(linear, hx, hw, c.n, c.out, c.in)
					for i := range linear {
						linear[i] += hbias[i%c.out]
					}
					for f, exact := range map[device.Activation]func(float64) float64{
						device.Identity:  func(z float64) float64 { return z },
						device.QuickGELU: reference.QuickGELU[float64],
						device.GELU:      reference.GELU[float64],
						device.GELUTanh:  reference.GELUTanh[float64],
					} {
						y, _ := b.buffer(c.n, c.out)
						want := make([]float64, len(linear))
						for i, z := range linear {
							want[i] = exact(z)
						}
						b.d.LinearBias(y, x, c.n, w, bias, f)
						b.compare(f.String(), y, want, c.in)
					}
					sum, hsum := b.buffer(c.n, c.out)
					for i := range hsum {
						hsum[i] += linear[i]
					}
					b.d.AddLinearBias(sum, x, c.n, w, bias)
					b.compare("add", sum, hsum, c.in)
				}

				D := c.heads * c.dh
				qkv, hqkv := b.buffer(c.n, 3*D)
				part := func(i int) (out []float64) {
					for row := range c.n {
						out = append(out, hqkv[(3*row+i)*D:(3*row+i+1)*D]...)
					}
					return out
				}
				a, _ := b.buffer(c.n, D)
				wantA := make([]float64, c.n*D)
				reference.BidirectionalAttention(wantA, part(0), part(1), part(2), c.n, c.heads, c.dh)
				b.d.BidirectionalAttention(a, qkv, c.n, c.heads, c.dh)
				b.compare("attention", a, wantA, c.n+c.dh)
			})
		}
	}
}

// The bits depend neither on the number of threads nor on earlier calls.
func TestVisionThreads(t *testing.T) {
	const n, D, I = 65, 48, 130
	run := func(threads int) (out []float32) {
		b := newGradientTest(t, threads)
		x, _ := b.buffer(n, D)
		w, _ := b.weight(checkpoint.F16, I, D)
		bias, _ := b.weight(checkpoint.F16, I)
		y, _ := b.buffer(n, I)
		a, _ := b.buffer(n, D)
		qkv, _ := b.buffer(n, 3*D)
		for range 2 {
			out = out[:0]
			b.d.LinearBias(y, x, n, w, bias, device.QuickGELU)
			out = append(out, data(y).data...)
			b.d.BidirectionalAttention(a, qkv, n, 3, 16)
			out = append(out, data(a).data...)
		}
		return out
	}
	one := run(1)
	for _, threads := range []int{2, 3} {
		for i, v := range run(threads) {
			if v != one[i] {
				t.Fatalf("%d threads: value %d: want %v, got %v", threads, i, one[i], v)
			}
		}
	}
}

// A layer of CLIP ViT-L/14-336: the share of the arithmetic peak is that of prefill of the
// same shapes.
func BenchmarkVisionLayer(b *testing.B) {
	const n, D, I = 577, 1024, 4096
	d, err := New(2)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	place := func(shape ...int) device.Weight {
		w, err := d.Place(checkpoint.Tensor{DType: checkpoint.F16, Shape: shape, Data: randomBytes(checkpoint.F16, shape)}, device.PlaceOptions{})
		if err != nil {
			b.Fatal(err)
		}
		return w
	}
	x, y, mid, qkv := randomBuffer(1, n, D), randomBuffer(2, n, D), randomBuffer(3, n, I), randomBuffer(4, n, 3*D)
	wd, bd, wu, bu, wm := place(D, D), place(D), place(I, D), place(I), place(D, I)
	wqkv, bqkv := place(3*D, D), place(3*D)
	b.Run("vision", func(b *testing.B) {
		for b.Loop() {
			d.LinearBias(qkv, x, n, wqkv, bqkv, device.Identity)
			d.BidirectionalAttention(y, qkv, n, 16, 64)
			d.AddLinearBias(y, x, n, wd, bd)
			d.LinearBias(mid, x, n, wu, bu, device.QuickGELU)
			d.AddLinearBias(y, mid, n, wm, bd)
		}
		report(b, 2*n*D*(4*D+2*I)+4*n*n*D)
	})
	b.Run("prefill", func(b *testing.B) { // the same matrices
		for b.Loop() {
			d.Linear(device.Prefill, qkv, x, n, wqkv)
			d.Linear(device.Prefill, y, x, n, wd)
			d.Linear(device.Prefill, mid, x, n, wu)
			d.Linear(device.Prefill, y, mid, n, wm)
		}
		report(b, 2*n*D*(4*D+2*I))
	})
	hs, spans := device.AttentionShape{H: 16, K: 16, Dh: 64}, []device.Span{{Len: n}}
	kv, err := d.NewKVCache(1, n, hs)
	if err != nil {
		b.Fatal(err)
	}
	defer kv.Free()
	if err := kv.Reserve(0, n); err != nil {
		b.Fatal(err)
	}
	rope, gain, wk := device.RoPEFrequencies{InvFreq: make([]float32, 32)}, place(D), place(D, D)
	b.Run("llama", func(b *testing.B) { // a layer of a language model of these sizes
		for b.Loop() {
			d.QKV(device.Prefill, y, kv, x, gain, wd, wk, wk, 1e-5, hs, rope, spans)
			d.Attention(device.Prefill, y, y, kv, hs, spans)
			d.AddLinear(device.Prefill, x, y, n, wd)
			d.GateUp(device.Prefill, mid, x, n, gain, wu, wu, 1e-5)
			d.AddLinear(device.Prefill, x, mid, n, wm)
		}
		report(b, 2*n*D*(4*D+3*I)+2*n*n*D) // half of the scores
	})
}

func report(b *testing.B, flops int) {
	b.ReportMetric(float64(flops)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
