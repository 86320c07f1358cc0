//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"testing"

	"mop/runtime/device"
)

// BenchmarkTraining: the products of llama-2-7b at 40 % for 512 tokens, rank 32,
// dropout 0.05: forward and backward, set and added, and without an adapter; in TFLOP/s of the stored
// matrix alone. The dropout's bits are made before the time begins, since its key stays.
func BenchmarkTraining(b *testing.B) {
	n := 512
	if testing.Short() {
		n = 2
	}
	for _, m := range []struct {
		name    string
		out, in int
	}{{"q", 3328, 4096}, {"o", 4096, 3328}, {"gate", 8848, 4096}, {"down", 4096, 8848}} {
		for _, rank := range []int{32, 0} {
			b.Run(fmt.Sprintf("%s/rank-%d", m.name, rank), func(b *testing.B) {
				d := open(b, 1)
				w := made(b, d, m.out, m.in)
				room := func(rows, cols int) device.Buffer { return floats(b, d, rows, cols, nil) }
				x, y, dx, dy, u := room(n, m.in), room(n, m.out), room(n, m.in), room(n, m.out), room(n, max(rank, 1))
				var ad *device.Adapter
				if rank > 0 {
					ad = &device.Adapter{A: room(rank, m.in), B: room(m.out, rank), DA: room(rank, m.in), DB: room(m.out, rank), Scale: 0.3,
						Drop: device.Dropout{Probability: 0.05, Keys: []uint64{1}, Spans: []device.Span{{Len: n}}}}
				}
				rate := func(b *testing.B, run func(int)) {
					measure(b, d, run)
					b.ReportMetric(2*float64(n)*float64(m.out)*float64(m.in)*float64(b.N)/b.Elapsed().Seconds()/1e12, "TFLOP/s")
				}
				b.Run("forward", func(b *testing.B) { rate(b, func(int) { d.LinearForward(y, u, x, n, w, ad, false) }) })
				b.Run("forward-add", func(b *testing.B) { rate(b, func(int) { d.LinearForward(y, u, x, n, w, ad, true) }) })
				b.Run("back-set", func(b *testing.B) { rate(b, func(int) { d.LinearBackward(dx, nil, dy, x, u, n, w, ad, false) }) })
				b.Run("back", func(b *testing.B) { rate(b, func(int) { d.LinearBackward(dx, nil, dy, x, u, n, w, ad, true) }) })
			})
		}
	}
	b.Run("cross entropy", func(b *testing.B) {
		d := open(b, 1)
		const V, D = 32000, 4096
		w := made(b, d, V, D)
		x, dx := floats(b, d, n, D, nil), floats(b, d, n, D, nil)
		targets, scale, nll := make([]int, n), make([]float32, n), make([]float64, n)
		measure(b, d, func(int) { d.CrossEntropy(nll, dx, nil, x, w, targets, scale) })
		b.ReportMetric(4*float64(n)*V*D*float64(b.N)/b.Elapsed().Seconds()/1e12, "TFLOP/s")
	})
}
