package cpu

import (
	"math"
	"testing"

	kernel "mop/kernels/cpu"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// QKVAttend has the bits of QKV and Attend, in what it attends to and in what it leaves
// in the cache, for any number of threads.
func TestQKVAttend(t *testing.T) {
	ws := newDrawn()
	best, _ := kernel.Choose("auto")
	const D, capacity, seq = 97, 2 * attendChunk, 1
	for _, hs := range []device.AttentionShape{{H: 16, K: 16, Dh: 8}, {H: 11, K: 11, Dh: 8}, {H: 1, K: 1, Dh: 8}, {H: 6, K: 3, Dh: 8}, {H: 3, K: 3, Dh: 10}} {
		for _, dt := range []checkpoint.DType{checkpoint.BF16, checkpoint.F32} {
			for set := kernel.Generic; set <= best; set++ {
				nq, nk := hs.H*hs.Dh, hs.K*hs.Dh
				rope := device.RoPEFrequencies{InvFreq: make([]float32, hs.Dh/2)}
				for i := range rope.InvFreq {
					rope.InvFreq[i] = float32(math.Pow(1e4, -float64(i)/float64(hs.Dh/2)))
				}
				run := func(threads int, fused bool) (out []float32) {
					d, err := Open(Options{Threads: threads, Kernels: set.String()})
					if err != nil {
						t.Fatal(err)
					}
					defer d.Close()
					gain, raw, w := ws.placed(t, d, dt, D), draw(dt, []int{nq + 2*nk, D}), [3]device.Weight{}
					for i, n := range []int{nq, nk, nk} {
						size := n * D * dt.Size()
						if w[i], err = d.Place(checkpoint.Tensor{Name: "w", DType: dt, Shape: []int{n, D}, Data: raw[:size:size]}); err != nil {
							t.Fatal(err)
						}
						raw = raw[size:]
					}
					kv, err := d.Cache(2, capacity, hs)
					if err != nil {
						t.Fatal(err)
					}
					d.Write(kv.Keys, 0, filled(3, 2*capacity, nk).data)
					d.Write(kv.Values, 0, filled(4, 2*capacity, nk).data)
					for _, start := range []int{0, 6, 76, attendChunk - 1, attendChunk} {
						x, q, a := filled(uint64(start), 2, D), filled(5, 2, nq), filled(6, 2, nq)
						spans := []device.Span{{Seq: seq, Start: start, Row: 0, Len: 1}}
						if fused {
							d.QKVAttend(device.Decode, a, q, kv, x, gain, w[0], w[1], w[2], 1e-5, hs, rope, spans)
						} else {
							d.QKV(device.Decode, q, kv, x, gain, w[0], w[1], w[2], 1e-5, hs, rope, spans)
							d.Attention(device.Decode, a, q, kv, hs, spans)
						}
						out = append(out, a.data...)
					}
					return append(append(out, data(kv.Keys).data...), data(kv.Values).data...)
				}
				want := run(1, false)
				for _, threads := range []int{1, 2, 3, 7} {
					for i, v := range run(threads, true) {
						if v != want[i] {
							t.Fatalf("%v %v %+v, %d threads: element %d: want %v, got %v", set, dt, hs, threads, i, want[i], v)
						}
					}
				}
			}
		}
	}
}
