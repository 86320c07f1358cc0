package cpu

import (
	"math"
	"slices"
	"testing"

	kernel "mop/kernels/cpu"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// Attention of decode passes over contexts around a chunk's multiples is the formula's in
// float64, and has the same bits for a sequence alone and beside others of other
// lengths, for any number of threads.
func TestDecodeAttention(t *testing.T) {
	best, _ := kernel.Choose("auto")
	contexts := []int{1, attentionChunk, 7, attentionChunk + 1, 3*attentionChunk - 1}
	const capacity = 3 * attentionChunk
	for _, hs := range []device.AttentionShape{{H: 6, K: 2, Dh: 10}, {H: 3, K: 3, Dh: 64}, {H: 5, K: 1, Dh: 8}, {H: 3, K: 3, Dh: 8}, {H: 11, K: 11, Dh: 8}, {H: 9, K: 3, Dh: 64}, {H: 10, K: 2, Dh: 16}, {H: 7, K: 1, Dh: 80}} {
		n, nk := len(contexts), hs.K*hs.Dh
		q := randomBuffer(1, n, hs.H*hs.Dh)
		keys, values := randomBuffer(2, n*capacity, nk), randomBuffer(3, n*capacity, nk)
		kv := newCacheOf(keys, values, capacity, hs)
		var spans []device.Span
		for i, T := range contexts {
			spans = append(spans, device.Span{Slot: i, Start: T - 1, Row: i, Len: 1})
		}
		for set := kernel.Generic; set <= best; set++ {
			var first *buffer
			for _, threads := range []int{1, 2, 3, 7} {
				d, err := Open(Options{Threads: threads, Kernels: set.String()})
				if err != nil {
					t.Fatal(err)
				}
				a := &buffer{make([]float32, len(q.data)), n, q.cols}
				d.Attention(device.Decode, a, q, kv, hs, spans)
				if first == nil {
					first = a
					referenceAttention(t, set, a, q, keys, values, capacity, hs, contexts)
				}
				alone := &buffer{make([]float32, len(q.data)), n, q.cols}
				for _, s := range spans {
					d.Attention(device.Decode, alone, q, kv, hs, []device.Span{s})
				}
				d.Close()
				for i, v := range first.data {
					if a.data[i] != v || alone.data[i] != v {
						t.Fatalf("%v %+v, %d threads: element %d of context %d: want %v, got %v, alone %v", set, hs, threads, i%q.cols, contexts[i/q.cols], v, a.data[i], alone.data[i])
					}
				}
			}
		}
	}
}

// A cache of 16 bits holds each key and value rounded to its type, and attention of decode
// and prefill passes then computes in float32, as with a float32 cache of those numbers.
func TestCache16Bits(t *testing.T) {
	for _, kind := range []checkpoint.DType{checkpoint.F16, checkpoint.BF16} {
		for _, hs := range []device.AttentionShape{{H: 6, K: 2, Dh: 10}, {H: 3, K: 3, Dh: 64}, {H: 5, K: 1, Dh: 8}, {H: 9, K: 3, Dh: 64}, {H: 6, K: 1, Dh: 32}} {
			const positions, n = attentionChunk + 70, 3
			d, err := Open(Options{Threads: 2, KVType: kind})
			if err != nil {
				t.Fatal(err)
			}
			wide, err := Open(Options{Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			nk := hs.K * hs.Dh
			cache, err := d.NewKVCache(1, positions, hs)
			if err != nil {
				t.Fatal(err)
			}
			want, err := wide.NewKVCache(1, positions, hs)
			if err != nil {
				t.Fatal(err)
			}
			if got, f32 := cache.PageBytes(), want.PageBytes(); 2*got != f32 {
				t.Errorf("a page has %d bytes, and %d in float32", got, f32)
			}
			for _, c := range []device.KVCache{cache, want} {
				if err := c.Reserve(0, positions); err != nil {
					t.Fatal(err)
				}
			}
			keys, values := randomBuffer(2, positions, nk), randomBuffer(3, positions, nk)
			for i := range positions {
				cache.(*kvCache).store(0, i, keys.row(i), values.row(i))
				for _, b := range []*buffer{keys, values} {
					for j, v := range b.row(i) {
						if b.row(i)[j] = kernel.FromF16(kernel.ToF16(v)); kind == checkpoint.BF16 {
							b.row(i)[j] = kernel.FromBF16(kernel.ToBF16(v))
						}
					}
				}
				want.(*kvCache).store(0, i, keys.row(i), values.row(i))
			}
			q := randomBuffer(1, n, hs.H*hs.Dh)
			for _, phase := range []device.Phase{device.Decode, device.Prefill} {
				spans := []device.Span{{Slot: 0, Start: positions - n, Row: 0, Len: n}}
				a, b := &buffer{make([]float32, len(q.data)), n, q.cols}, &buffer{make([]float32, len(q.data)), n, q.cols}
				d.Attention(phase, a, q, cache, hs, spans)
				wide.Attention(phase, b, q, want, hs, spans)
				if !slices.Equal(a.data, b.data) {
					t.Errorf("%v %+v, phase %v: attention differs from that over a float32 cache of the same numbers", kind, hs, phase)
				}
			}
			d.Close()
			wide.Close()
		}
	}
}

// A key or a value that float16 does not have makes attention over its position NaN, in every
// type of pass, and leaves the positions before it and other sequences as they are.
func TestCacheRange(t *testing.T) {
	const positions, large = 9, 7e4
	hs := device.AttentionShape{H: 2, K: 1, Dh: 16}
	for _, inKeys := range []bool{true, false} {
		d, err := Open(Options{Threads: 2, KVType: checkpoint.F16})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		kv, err := d.NewKVCache(2, positions, hs)
		if err != nil {
			t.Fatal(err)
		}
		keys, values := randomBuffer(2, positions, hs.Dh), randomBuffer(3, positions, hs.Dh)
		for slot := range 2 {
			if err := kv.Reserve(slot, positions); err != nil {
				t.Fatal(err)
			}
			for i := range positions {
				k, v := slices.Clone(keys.row(i)), slices.Clone(values.row(i))
				if slot == 0 && i == 5 && inKeys {
					k[3] = -large
				} else if slot == 0 && i == 5 {
					v[3] = large
				}
				kv.(*kvCache).store(slot, i, k, v)
			}
		}
		q := randomBuffer(1, 2*positions, hs.H*hs.Dh)
		copy(q.data[positions*q.cols:], q.data[:positions*q.cols])
		a := &buffer{make([]float32, len(q.data)), 2 * positions, q.cols}
		for _, phase := range []device.Phase{device.Decode, device.Prefill} {
			if d.Attention(phase, a, q, kv, hs, []device.Span{{Slot: 0, Row: 0, Len: 5}, {Slot: 1, Row: positions, Len: positions}}); !slices.Equal(a.data[:5*q.cols], a.data[positions*q.cols:(positions+5)*q.cols]) {
				t.Errorf("phase %v: want the positions before the large number to have the bits of another sequence's", phase)
			}
			d.Attention(phase, a, q, kv, hs, []device.Span{{Slot: 0, Start: 5, Row: 5, Len: positions - 5}, {Slot: 1, Row: positions, Len: positions}})
			for i := range positions {
				row, other := a.row(i), a.row(positions+i)
				if nan := slices.ContainsFunc(row, func(x float32) bool { return x != x }); nan != (i >= 5) || slices.ContainsFunc(other, func(x float32) bool { return x != x }) {
					t.Errorf("large number in keys %t, phase %v, position %d: want NaN from position 5 on of one sequence only, got %v and %v", inKeys, phase, i, row, other)
				}
			}
		}
	}
}

// referenceAttention holds a against softmax(q . keys / sqrt(Dh)) values.
func referenceAttention(t *testing.T, set kernel.Set, a, q, keys, values *buffer, capacity int, hs device.AttentionShape, contexts []int) {
	t.Helper()
	for i, T := range contexts {
		for h := range hs.H {
			at := h / (hs.H / hs.K) * hs.Dh
			want, sum := make([]float64, hs.Dh), 0.0
			for p := range T {
				dot := 0.0
				for j := range hs.Dh {
					dot += float64(q.row(i)[h*hs.Dh+j]) * float64(keys.row(i*capacity + p)[at+j])
				}
				e := math.Exp(dot / math.Sqrt(float64(hs.Dh)))
				sum += e
				for j := range hs.Dh {
					want[j] += e * float64(values.row(i*capacity + p)[at+j])
				}
			}
			for j, w := range want {
				if got := float64(a.row(i)[h*hs.Dh+j]); !(math.Abs(got-w/sum) <= 3e-6) {
					t.Fatalf("%v %+v context %d head %d, element %d: want %v, got %v", set, hs, T, h, j, w/sum, got)
				}
			}
		}
	}
}
