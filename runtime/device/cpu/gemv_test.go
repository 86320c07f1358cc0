package cpu

import (
	"fmt"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// Matrices that share an input are cut by the bytes that are read, whatever their
// types, and every row of each is in one part.
func TestGEMVIsSplitByBytes(t *testing.T) {
	ws := newRandomWeights()
	d, err := Open(Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	const c = 37
	types := []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16}
	for i := range 4 * 4 * 4 {
		var o gemv
		what := ""
		for m, rows := range []int{911, 300, 301} {
			k := i >> (2 * m) & 3
			dt := types[k%3]
			ws.int8 = k == 3
			o.ws[m] = asWeight(ws.place(t, d, dt, rows, c))
			what += fmt.Sprintf(" %v %v", dt, ws.int8)
		}
		pieces, _ := o.countPieces()
		total, largest := 0, 0
		for _, w := range o.ws {
			total += w.streamSteps() * w.stepBytes()
			largest = max(largest, w.stepBytes())
		}
		for _, parts := range []int{1, 2, 7, 8} {
			var next [3]int
			for p := range parts {
				lo, hi := partRange(pieces, 1, p, parts)
				bytes := 0
				for m, w := range o.ws {
					a, b := o.steps(m, lo, hi)
					if a >= b {
						continue // none of this matrix
					}
					if a != next[m] {
						t.Fatalf("%s: part %d of %d: matrix %d goes on at stride %d, want %d", what, p, parts, m, a, next[m])
					}
					next[m] = b
					bytes += (b - a) * w.stepBytes()
				}
				if off := bytes - total/parts; off > 2*largest || off < -2*largest {
					t.Errorf("%s: part %d of %d has %d bytes of %d", what, p, parts, bytes, total)
				}
			}
			for m, w := range o.ws {
				if next[m] != w.streamSteps() {
					t.Errorf("%s: %d parts end at stride %d of %d of matrix %d", what, parts, next[m], w.streamSteps(), m)
				}
			}
		}
	}
}

// Queries, keys and values of unlike types are computed as each is alone, at any number
// of threads.
func TestQKVOfMixedTypes(t *testing.T) {
	ws := newRandomWeights()
	const n, D, H, K, Dh = 2, 37, 6, 2, 8
	hs := device.AttentionShape{H: H, K: K, Dh: Dh}
	rope := device.RoPEFrequencies{InvFreq: make([]float32, Dh/2)}
	types := []checkpoint.DType{checkpoint.F32, checkpoint.BF16, checkpoint.F16}
	run := func(threads int, alone bool) (out map[string][][]float32) {
		d, err := Open(Options{Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		keys, values := &buffer{make([]float32, n*K*Dh), n, K * Dh}, &buffer{make([]float32, n*K*Dh), n, K * Dh}
		kv := newCacheOf(keys, values, 1, hs)
		q, x := &buffer{make([]float32, n*H*Dh), n, H * Dh}, randomBuffer(1, n, D)
		to := []*buffer{q, keys, values}
		gain := ws.place(t, d, checkpoint.F32, D)
		var w []device.Weight
		for i, dt := range types {
			w = append(w, ws.place(t, d, dt, to[i].cols, D))
		}
		if !alone {
			spans := []device.Span{{Slot: 0, Row: 0, Len: 1}, {Slot: 1, Row: 1, Len: 1}} // at position 0 nothing turns
			d.QKV(device.Decode, q, kv, x, gain, w[0], w[1], w[2], 1e-5, hs, rope, spans)
			for i := range n { // a page of one position
				copy(keys.row(i), kv.slots[i][0].keys.f32)
				copy(values.row(i), kv.slots[i][0].values.f32)
			}
		} else {
			h := &buffer{make([]float32, n*D), n, D}
			d.Norm(h, x, []int{0, 1}, gain, 1e-5)
			for i := range w {
				d.Linear(device.Decode, to[i], h, n, w[i])
			}
		}
		out = map[string][][]float32{}
		for i, b := range to {
			out[fmt.Sprint(types[i])] = [][]float32{b.row(0), b.row(1)}
		}
		return out
	}
	want := run(1, true)
	for _, threads := range []int{1, 2, 3, 7} {
		agree(t, fmt.Sprint("threads ", threads), want, run(threads, false), 0)
	}
}
