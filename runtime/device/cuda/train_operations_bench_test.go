//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"testing"

	"mop/runtime/device"
)

// benchmarkRows is how many rows the operations of training are timed with.
func benchmarkRows() int {
	if testing.Short() {
		return 2
	}
	return 512
}

// BenchmarkTrainAttention: a span's attention and its gradients, causal, in TFLOP/s.
func BenchmarkTrainAttention(b *testing.B) {
	n := benchmarkRows()
	for _, hs := range []device.AttentionShape{{H: 26, K: 26, Dh: 128}, {H: 32, K: 8, Dh: 128}} {
		b.Run(fmt.Sprintf("%d-%d/%d", hs.H, hs.K, n), func(b *testing.B) {
			d, span := open(b, 1), []device.Span{{Len: n}}
			buffer := func(cols int) *buffer { return floats(b, d, n, cols, nil) }
			q, k, v, a, stats := buffer(hs.H*hs.Dh), buffer(hs.K*hs.Dh), buffer(hs.K*hs.Dh), buffer(hs.H*hs.Dh), buffer(hs.H)
			dq, dk, dv, da := buffer(hs.H*hs.Dh), buffer(hs.K*hs.Dh), buffer(hs.K*hs.Dh), buffer(hs.H*hs.Dh)
			product := float64(n) * float64(n) * float64(hs.H*hs.Dh) // of q and k, or of p and v: half of n x n is seen
			b.Run("forward", func(b *testing.B) {
				measure(b, d, func(int) { d.AttentionForward(a, stats, q, k, v, hs, span) })
				b.ReportMetric(2*product*float64(b.N)/b.Elapsed().Seconds()/1e12, "TFLOP/s")
			})
			b.Run("back", func(b *testing.B) {
				measure(b, d, func(int) { d.AttentionBackward(dq, dk, dv, da, a, stats, q, k, v, hs, span) })
				b.ReportMetric(5*product*float64(b.N)/b.Elapsed().Seconds()/1e12, "TFLOP/s")
			})
		})
	}
}

// BenchmarkTrainRows: what only moves rows, in GB/s. 512 rows of a width fit into a
// large cache: what it reports may be more than the memory gives.
func BenchmarkTrainRows(b *testing.B) {
	n, D, I := benchmarkRows(), 4096, 8848
	d := open(b, 1)
	buffer := func(cols int) *buffer { return floats(b, d, n, cols, nil) }
	x, y, r, g, u, m, du := buffer(D), buffer(D), buffer(1), buffer(I), buffer(I), buffer(I), buffer(I)
	w := made(b, d, 1, D)
	for _, c := range []struct {
		name  string
		bytes int
		run   func(int)
	}{
		{"norm", 8 * n * D, func(int) { d.NormForward(y, r, x, n, w, 1e-5) }},
		{"norm-back", 16 * n * D, func(int) { d.NormBackward(y, nil, x, x, r, n, w) }},
		{"gate", 12 * n * I, func(int) { d.SwiGLU(m, g, u, n) }},
		{"gate-back", 20 * n * I, func(int) { d.SwiGLUBackward(m, du, m, g, u, n) }},
		{"copy", 8 * n * D, func(int) { d.Copy(y, x, n) }},
		{"adamw", 28 * n * I, func(int) { d.AdamW(m, g, u, du, device.AdamW{LearningRate: 1e-4, Step: 1}) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			measure(b, d, c.run)
			b.ReportMetric(float64(c.bytes)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
		})
	}
}
