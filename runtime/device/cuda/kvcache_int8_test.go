//go:build cuda || cudaemu

package cuda

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/model"
)

// int8Part returns where a position of a head begins in a page, in bytes, and its scale: for keys
// (0) or values (1).
func int8Part(hs device.AttentionShape, part, head, pos int) (row, scale int) {
	pitch := int8RowPitch(hs.Dh)
	at := head * 2 * pageSize * (pitch + scaleBytes)
	return at + (part*pageSize+pos)*pitch, at + 2*pageSize*pitch + (part*pageSize+pos)*scaleBytes
}

// int8Page is a page of an 8-bit cache with some positions' keys and values, and zeros.
func int8Page(hs device.AttentionShape, rows [2]matrix) []byte {
	page, q, x := make([]byte, int8PageBytes(hs)), make([]int8, hs.Dh), make([]float32, hs.Dh)
	for part, m := range rows {
		for pos := range m.rows {
			for head := range hs.K {
				for j := range x {
					x[j] = float32(m.row(pos)[head*hs.Dh+j])
				}
				row, scale := int8Part(hs, part, head, pos)
				binary.LittleEndian.PutUint32(page[scale:], math.Float32bits(device.QuantizeRow(q, x)))
				copy(page[row:], bytesOf(q))
			}
		}
	}
	return page
}

// fillInt8Cache stores keys and values of a sequence at 8 bits.
func fillInt8Cache(t testing.TB, d *Device, p *kvCache, seq int, rows [2]matrix) {
	t.Helper()
	for i, at := range p.held.slots[seq] {
		lo, hi := min(i*pageSize, rows[0].rows), min((i+1)*pageSize, rows[0].rows)
		var part [2]matrix
		for j, m := range rows {
			part[j] = matrix{rows: hi - lo, cols: m.cols, t: m.t, v: m.v[lo*m.cols : hi*m.cols]}
		}
		page := int8Page(p.heads, part)
		if err := d.driver.Upload(at, len(page), page, len(page)); err != nil {
			t.Fatal(err)
		}
	}
}

// readInt8Cache is readCache for a cache of 8 bits.
func readInt8Cache(d *Device, p *kvCache) (keys, values []float32) {
	hs, line := p.heads, roundUp(p.heads.Dh, 8)
	n := pageSize * hs.K * line
	out := [2][]float32{make([]float32, p.slots*p.maxPages*n), make([]float32, p.slots*p.maxPages*n)}
	for i, at := range download[uint64](d, p.table.p, p.slots*p.maxPages) {
		if at == 0 {
			continue
		}
		page := download[byte](d, pointer(at), int(p.PageBytes()))
		for part := range out {
			for pos := range pageSize {
				for head := range hs.K {
					row, scale := int8Part(hs, part, head, pos)
					s := math.Float32frombits(binary.LittleEndian.Uint32(page[scale:]))
					for j := range hs.Dh {
						out[part][i*n+(pos*hs.K+head)*line+j] = float32(int8(page[row+j])) * s
					}
				}
			}
		}
	}
	return out[0], out[1]
}

// openInt8KV opens a device with a cache of 8 bits.
func openInt8KV(t testing.TB, order uint64, set string) *Device {
	d := openSet(t, order, set)
	d.int8KV = true
	t.Cleanup(func() { d.int8KV = false }) // a GPU's device serves all tests
	return d
}

// QKV appends to a cache of 8 bits what it appends to one of 16, rounded as device.QuantizeRow rounds
// it, bit by bit; q has the same bits. Attention over both phases is the formula's.
func TestInt8QKVAndAttention(t *testing.T) {
	eachShapeAndSet(t, func(t *testing.T, d *Device, r *rand.Rand, f format, N, D int, hs device.AttentionShape, _ int) {
		if hs.H == 0 {
			return
		}
		d.int8KV = true
		defer func() { d.int8KV = false }()
		gain := randomMatrix(r, 1, D, f.t).place(t, d, true)
		wq, wk, wv := f.matrix(r, hs.H*hs.Dh, D).place(t, d, false), f.matrix(r, hs.K*hs.Dh, D).place(t, d, false), f.matrix(r, hs.K*hs.Dh, D).place(t, d, false)
		rope := device.RoPEFrequencies{InvFreq: make([]float32, hs.Dh/2)}
		for i := range rope.InvFreq {
			rope.InvFreq[i] = float32(math.Pow(100, -float64(2*i)/float64(hs.Dh)))
		}
		const capacity = 200
		x := floats(t, d, N, D, normal(r, N*D))
		cut := N / 2
		spans := []device.Span{{Slot: 1, Start: 0, Row: 0, Len: N - cut}, {Slot: 0, Start: 90, Row: N - cut, Len: cut}}
		if cut == 0 {
			spans = spans[:1]
		}
		old := [2]matrix{randomMatrix(r, 90, hs.K*hs.Dh, f.t), randomMatrix(r, 90, hs.K*hs.Dh, f.t)}
		for _, kind := range kinds {
			var caches [2]device.KVCache
			var queries [2]*buffer
			for i, newCache := range []func(int, int, device.AttentionShape) (device.KVCache, error){d.NewKVCache, d.NewPreciseKVCache} {
				kv, err := newCache(2, capacity, hs)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(kv.Free)
				for _, s := range spans {
					if err := kv.Reserve(s.Slot, s.Start+s.Len); err != nil {
						t.Fatal(err)
					}
				}
				if cut > 0 {
					fillCache(t, d, kv, 0, old)
				}
				caches[i], queries[i] = kv, emptyInner(t, d, N, hs.H*hs.Dh)
				d.QKV(kind, queries[i], kv, x, gain, wq, wk, wv, epsilon, hs, rope, spans)
			}
			same16(t, kind.String()+" q", read(d, queries[1]), read(d, queries[0]))
			checkRounded(t, d, caches[0], caches[1], hs, spans)
			checkAttention(t, d, kind, queries[0], caches[0], hs, spans)
			checkAttention(t, d, kind, queries[1], caches[1], hs, spans) // the other on the same device
		}
	})
}

// same16 compares what two caches must not change.
func same16(t *testing.T, what string, want, got []float32) {
	t.Helper()
	for i, v := range want {
		if got[i] != v {
			t.Fatalf("%s: number %d: want %g, got %g", what, i, v, got[i])
		}
	}
}

// checkRounded compares the rows of spans in a cache of 8 bits with those of one of 16.
func checkRounded(t *testing.T, d *Device, eight, wide device.KVCache, hs device.AttentionShape, spans []device.Span) {
	t.Helper()
	var got, want [2][]float32
	got[0], got[1] = readCache(d, eight)
	want[0], want[1] = readCache(d, wide)
	at, q := positionsOf(eight), make([]int8, hs.Dh)
	for _, s := range spans {
		for pos := s.Start; pos < s.Start+s.Len; pos++ {
			for head := range hs.K {
				first := at(s.Slot, pos, head, 0)
				for part := range got {
					scale := device.QuantizeRow(q, want[part][first:first+hs.Dh])
					for j := range q {
						if w := float32(q[j]) * scale; got[part][first+j] != w {
							t.Fatalf("part %d, slot %d, position %d, head %d, column %d: want %g, got %g", part, s.Slot, pos, head, j, w, got[part][first+j])
						}
					}
				}
			}
		}
	}
}

// Attention over several pages of 8 bits: see TestAttentionPages. Heads wider than 128, groups of
// more than eight, sizes that are no multiples of 16.
func TestInt8AttentionPages(t *testing.T) {
	eachAttentionPages(t, []device.AttentionShape{{H: 2, K: 1, Dh: 64}, {H: 3, K: 3, Dh: 6}, {H: 10, K: 1, Dh: 16}, {H: 2, K: 2, Dh: 128}, {H: 1, K: 1, Dh: 136}, {H: 3, K: 1, Dh: 104}}, openInt8KV)
}

// See TestAttentionBalanced.
func TestInt8AttentionBalanced(t *testing.T) { eachAttentionBalanced(t, openInt8KV) }

// The splits of a row depend only on its position: see TestAttentionSplits.
func TestInt8AttentionSplits(t *testing.T) {
	for _, hs := range []device.AttentionShape{{H: 3, K: 1, Dh: 128}, {H: 2, K: 2, Dh: 64}} {
		for _, o := range orders {
			t.Run(fmt.Sprintf("%+v/%d", hs, o), func(t *testing.T) { checkAttentionSplits(t, openInt8KV(t, o, sets(t)[0]), hs) })
		}
	}
}

// Values whose scales are smaller than the smallest float16 number are not lost.
func TestInt8SmallValues(t *testing.T) {
	hs := device.AttentionShape{H: 1, K: 1, Dh: 64}
	for _, dt := range types {
		d := openInt8KV(t, orders[0], sets(t)[0])
		r := rand.New(rand.NewPCG(1, 2))
		kv, err := d.NewKVCache(1, 100, hs)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(kv.Free)
		if err := kv.Reserve(0, 100); err != nil {
			t.Fatal(err)
		}
		rows := [2]matrix{randomMatrix(r, 100, hs.Dh, dt), randomMatrix(r, 100, hs.Dh, dt)}
		for i := range rows[1].v {
			rows[1].v[i] = round16(rows[1].v[i]*0x1p-12, dt)
		}
		fillCache(t, d, kv, 0, rows)
		checkAttention(t, d, device.Decode, randomMatrix(r, 1, hs.Dh, dt).inner(t, d), kv, hs, []device.Span{{Start: 99, Len: 1}})
	}
}

// A page of 8 bits takes a byte for each number and four for each scale, heads being rounded up to
// 16 numbers.
func TestInt8PageBytes(t *testing.T) {
	d := openInt8KV(t, orders[0], sets(t)[0])
	for _, c := range []struct {
		hs   device.AttentionShape
		want int64
	}{
		{device.AttentionShape{H: 32, K: 32, Dh: 128}, 2 * 64 * 32 * (128 + 4)},
		{device.AttentionShape{H: 3, K: 3, Dh: 20}, 2 * 64 * 3 * (32 + 4)},
	} {
		kv, err := d.NewKVCache(1, 100, c.hs)
		if err != nil {
			t.Fatal(err)
		}
		if got := kv.PageBytes(); got != c.want {
			t.Errorf("%+v: want %d bytes, got %d", c.hs, c.want, got)
		}
		kv.Free()
	}
	if can := d.Capabilities(); can.CacheBytes(32, 128)*64 != 2*64*32*(128+4) {
		t.Errorf("want the bytes of a page by the capabilities, got %d a position", can.CacheBytes(32, 128))
	}
}

// Models with a cache of 8 bits have the logits of the host with one, to rounding; a value that is
// rounded to another integer there differs by more than one of float16 does.
func TestInt8KVModelLogits(t *testing.T) {
	for _, dir := range []string{"gqa-bf16", "different-bf16", "tied-f16"} {
		src, err := checkpoint.Open("../../model/testdata/" + dir)
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		for _, set := range sets(t) {
			t.Run(dir+"/"+set, func(t *testing.T) {
				c, err := cpu.Open(cpu.Options{Threads: 1, Int8KV: true})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				host, err := model.Load(c, src)
				if err != nil {
					t.Fatal(err)
				}
				dev, err := model.Load(openInt8KV(t, orders[0], set), src)
				if err != nil {
					t.Fatal(err)
				}
				checkLogits(t, host, dev, checkpoint.BF16)
			})
		}
	}
}

// A row has the same bits alone and in a batch, and sequences that join and leave a decoder get
// the tokens that they get alone.
func TestInt8KVSequences(t *testing.T) {
	sameBitsInABatch(t, openInt8KV(t, orders[0], sets(t)[0]))
	checkJoinAndLeave(t, openInt8KV(t, orders[0], sets(t)[0]))
}
