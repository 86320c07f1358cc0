package cpu

import (
	"math"
	"slices"
	"testing"

	"mop/runtime/device"
)

// fillInt8 stores random keys and values in a slot of an 8-bit cache, and what they become in one
// of float32.
func fillInt8(eight, wide *kvCache, slot, positions int, seed uint64) {
	nk, q := eight.heads*eight.dh, make([]int8, eight.dh)
	keys, values := randomBuffer(seed, positions, nk), randomBuffer(seed+1, positions, nk)
	for i := range positions {
		eight.store(slot, i, keys.row(i), values.row(i))
		for _, b := range []*buffer{keys, values} {
			for row := b.row(i); len(row) > 0; row = row[eight.dh:] {
				scale := device.QuantizeRow(q, row[:eight.dh])
				for j, v := range q {
					row[j] = float32(v) * scale
				}
			}
		}
		wide.store(slot, i, keys.row(i), values.row(i))
	}
}

// openInt8 opens a device with an 8-bit cache and one of float32, and a cache of each.
func openInt8(t *testing.T, slots, positions int, hs device.AttentionShape) (eight, wide *Device, a, b *kvCache) {
	t.Helper()
	open := func(int8KV bool) (*Device, *kvCache) {
		d, err := Open(Options{Threads: 2, Int8KV: int8KV})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		kv, err := d.NewKVCache(slots, positions, hs)
		if err != nil {
			t.Fatal(err)
		}
		return d, kv.(*kvCache)
	}
	eight, a = open(true)
	wide, b = open(false)
	return eight, wide, a, b
}

// A cache of 8 bits holds each head's key and value of a position rounded with a scale, and
// attention of decode and prefill passes then computes in float32, as with a float32 cache of
// those numbers. A row has the same bits alone and among others.
func TestCacheInt8(t *testing.T) {
	for _, hs := range []device.AttentionShape{{H: 6, K: 2, Dh: 10}, {H: 3, K: 3, Dh: 64}, {H: 5, K: 1, Dh: 8}, {H: 29, K: 29, Dh: 18}} {
		lengths := []int{attentionChunk + 70, 1, attentionChunk}
		eight, wide, cache, want := openInt8(t, len(lengths), attentionChunk+70, hs)
		can := eight.Capabilities()
		if got := cache.PageBytes(); got != int64(2*cache.size*hs.K*(hs.Dh+4)) || got != int64(cache.size)*can.CacheBytes(hs.K, hs.Dh) {
			t.Errorf("%+v: a page has %d bytes, and %d a position by the capabilities", hs, got, can.CacheBytes(hs.K, hs.Dh))
		}
		var spans []device.Span
		for slot, n := range lengths {
			for _, c := range []*kvCache{cache, want} {
				if err := c.Reserve(slot, n); err != nil {
					t.Fatal(err)
				}
			}
			fillInt8(cache, want, slot, n, uint64(10*slot))
			spans = append(spans, device.Span{Slot: slot, Start: n - 1, Row: slot, Len: 1})
		}
		q := randomBuffer(1, 5, hs.H*hs.Dh)
		compare := func(phase device.Phase, spans []device.Span) {
			t.Helper()
			a, b := &buffer{make([]float32, len(q.data)), q.rows, q.cols}, &buffer{make([]float32, len(q.data)), q.rows, q.cols}
			eight.Attention(phase, a, q, cache, hs, spans)
			wide.Attention(phase, b, q, want, hs, spans)
			if !slices.Equal(a.data, b.data) {
				t.Errorf("%+v, phase %v: attention differs from that over a float32 cache of the same numbers", hs, phase)
			}
			for _, s := range spans {
				alone := &buffer{make([]float32, len(q.data)), q.rows, q.cols}
				eight.Attention(phase, alone, q, cache, hs, []device.Span{s})
				if !slices.Equal(alone.data[s.Row*q.cols:(s.Row+s.Len)*q.cols], a.data[s.Row*q.cols:(s.Row+s.Len)*q.cols]) {
					t.Errorf("%+v, phase %v: slot %d has other bits alone", hs, phase, s.Slot)
				}
			}
		}
		compare(device.Decode, spans)
		compare(device.Prefill, spans)
		compare(device.Prefill, []device.Span{{Slot: 0, Start: lengths[0] - 5, Row: 0, Len: 5}})
	}
}

// Slots share pages of an 8-bit cache, and a released page is used again.
func TestCacheInt8Shares(t *testing.T) {
	hs := device.AttentionShape{H: 2, K: 1, Dh: 6}
	eight, wide, cache, want := openInt8(t, 3, 2*attentionChunk, hs)
	for _, c := range []*kvCache{cache, want} {
		if err := c.Reserve(0, attentionChunk); err != nil {
			t.Fatal(err)
		}
	}
	fillInt8(cache, want, 0, attentionChunk, 3)
	for _, c := range []*kvCache{cache, want} {
		if err := c.Share(1, 0, 1); err != nil {
			t.Fatal(err)
		}
		c.Release(0)
		if err := c.Reserve(2, 1); err != nil { // not a page of slot 1
			t.Fatal(err)
		}
	}
	fillInt8(cache, want, 2, 1, 9)
	q := randomBuffer(1, 2, hs.H*hs.Dh)
	spans := []device.Span{{Slot: 1, Start: attentionChunk - 1, Row: 0, Len: 1}, {Slot: 2, Start: 0, Row: 1, Len: 1}}
	a, b := &buffer{make([]float32, len(q.data)), q.rows, q.cols}, &buffer{make([]float32, len(q.data)), q.rows, q.cols}
	eight.Attention(device.Decode, a, q, cache, hs, spans)
	wide.Attention(device.Decode, b, q, want, hs, spans)
	if !slices.Equal(a.data, b.data) {
		t.Error("attention over a shared page differs from that over a float32 cache of the same numbers")
	}
}

// A key that is not finite gives results that are not numbers, as with a float32 cache.
func TestCacheInt8NotFinite(t *testing.T) {
	hs := device.AttentionShape{H: 1, K: 1, Dh: 4}
	eight, _, cache, _ := openInt8(t, 1, 2, hs)
	if err := cache.Reserve(0, 2); err != nil {
		t.Fatal(err)
	}
	cache.store(0, 0, []float32{1, 2, 3, 4}, []float32{1, 2, 3, 4})
	cache.store(0, 1, []float32{1, float32(math.Inf(1)), 3, 4}, []float32{1, 2, 3, 4})
	q := randomBuffer(1, 1, hs.Dh)
	for _, phase := range []device.Phase{device.Decode, device.Prefill} {
		a := &buffer{make([]float32, hs.Dh), 1, hs.Dh}
		eight.Attention(phase, a, q, cache, hs, []device.Span{{Slot: 0, Start: 1, Row: 0, Len: 1}})
		for i, v := range a.data {
			if v == v {
				t.Errorf("phase %v, element %d: want NaN, got %v", phase, i, v)
			}
		}
	}
}

// Beside an 8-bit cache the device makes float32 ones, for the reference of a comparison.
func TestPreciseCache(t *testing.T) {
	hs := device.AttentionShape{H: 1, K: 1, Dh: 4}
	eight, _, _, _ := openInt8(t, 1, 1, hs)
	kv, err := device.WithPreciseCaches(eight).NewKVCache(1, 1, hs)
	if err != nil {
		t.Fatal(err)
	}
	if c := kv.(*kvCache); c.int8 || c.kind.Size() != 4 {
		t.Errorf("want a float32 cache, got %+v", c)
	}
}
