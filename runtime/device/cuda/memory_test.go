//go:build cuda || cudaemu

package cuda

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// An operation without memory for its scratch fails its pass with one error. The next pass
// over the same rows is correct.
func TestOutOfMemoryInPass(t *testing.T) {
	d := open(t, orders[0])
	r := rand.New(rand.NewPCG(4, 4))
	hs := device.AttentionShape{H: 2, K: 1, Dh: 8}
	const N, D = 3, 24
	dt := checkpoint.BF16
	gain, wq, wk, wv := randomMatrix(r, 1, D, dt).place(t, d, true), randomMatrix(r, 16, D, dt).place(t, d, false), randomMatrix(r, 8, D, dt).place(t, d, false), randomMatrix(r, 8, D, dt).place(t, d, false)
	x := floats(t, d, N, D, normal(r, N*D))
	rope := device.RoPEFrequencies{InvFreq: []float32{1, 0.5, 0.25, 0.125}}
	pass := func(seq int, before func()) ([]float32, error) {
		spans := []device.Span{{Slot: seq, Start: 4, Len: N}}
		kv, err := d.NewKVCache(2, 64, hs)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(kv.Free)
		if err := kv.Reserve(seq, 4+N); err != nil {
			t.Fatal(err)
		}
		q := emptyInner(t, d, N, 16)
		before()
		d.QKV(device.Decode, q, kv, x, gain, wq, wk, wv, 1e-5, hs, rope, spans)
		if err := kv.Reserve(1-seq, 4+N); d.err != nil && !errors.Is(err, device.ErrMemory) {
			t.Errorf("extending a cache after a failure: got %v", err)
		}
		return readIf(d, q), d.Sync()
	}
	none := func() {}
	want, err := pass(1, none)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pass(0, none); err != nil { // other positions are stored there now
		t.Fatal(err)
	}
	_, err = pass(1, func() { d.scratchMemory(scratchLogits, 1<<46, false) })
	if !errors.Is(err, device.ErrMemory) || !strings.HasPrefix(err.Error(), "cuda: "+device.ErrMemory.Error()+": want 70368744177664 bytes ") || !strings.Contains(err.Error(), " free of ") || !strings.HasSuffix(err.Error(), ", for the scratch buffer of logits") {
		t.Fatalf("want what was needed and what is free, got %v", err)
	}
	got, err := pass(1, none)
	if err != nil {
		t.Fatalf("after a pass without room: %v", err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("number %d: want %g again, got %g", i, want[i], got[i])
		}
	}
}

// readIf reads a 16-bit buffer if nothing has failed.
func readIf(d *Device, b device.Buffer) []float32 {
	if d.err != nil {
		return nil
	}
	return read(d, b)
}

// Bytes without padding are uploaded in one call, however many. Numbers that do not fit a
// kernel's argument are refused.
func TestLargeUpload(t *testing.T) {
	d := open(t, orders[0])
	const n = 40 << 20 // bytes, more than a half of the ring of pinned memory
	v := make([]byte, n)
	for i := range v {
		v[i] = byte(i * 7 >> 3)
	}
	p := uploadScratch(d, scratchLogits, v)
	for i, b := range download[byte](d, p, n) {
		if b != v[i] {
			t.Fatalf("byte %d: want %d, got %d", i, v[i], b)
		}
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	d.scratch[scratchLogits].Free()
	d.scratch[scratchLogits] = nil
	d.launch("cast_bf16", [3]int{1, 1, 1}, 256, 0, p, 64, p, 64, 1<<31)
	if err := d.err; err == nil || !strings.Contains(err.Error(), "cast_bf16: argument 4: want a number of 32 bits, got 2147483648") {
		t.Errorf("want the number refused, got %v", err)
	}
	d.err = nil
}

// The RoPE cache has as many positions as were needed, and doubles when more are needed.
// Every entry is the cosine and sine of the angle in float32.
func TestRoPECacheGrows(t *testing.T) {
	d := open(t, orders[0])
	rope, other := device.RoPEFrequencies{InvFreq: []float32{1, 0.3, 0.007}}, device.RoPEFrequencies{InvFreq: []float32{0.5, 0.3, 0.007}}
	check := func(rope device.RoPEFrequencies, asked, want int) pointer {
		t.Helper()
		p := d.ropeTable(rope, asked)
		i := slices.IndexFunc(d.ropeTables, func(t *ropeTable) bool { return slices.Equal(t.frequencies, rope.InvFreq) })
		if got := d.ropeTables[i].positions; got != want {
			t.Errorf("%d positions: want a table of %d, got %d", asked, want, got)
		}
		for i, v := range download[float32](d, p, want*6) {
			sin, cos := math.Sincos(float64(float32(i/6) * rope.InvFreq[i%6/2]))
			if e := []float64{cos, sin}[i%2]; v != float32(e) {
				t.Fatalf("%d positions: number %d: want %g, got %g", asked, i, e, v)
			}
		}
		return p
	}
	first := check(rope, 10, 10)
	if check(rope, 7, 10) != first || check(rope, 10, 10) != first {
		t.Error("want the same table for fewer positions")
	}
	check(other, 3, 3)
	check(rope, 11, 20)
	check(rope, 100, 100)
	check(other, 4, 6)
	// Positions past the first table of a long cache.
	hs, one := device.AttentionShape{H: 1, K: 1, Dh: 2}, checkpoint.BF16
	kv, err := d.NewKVCache(1, 9000, hs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kv.Free)
	rope.InvFreq = []float32{0.001}
	// D is 1, the norm's outcome 1: of weights (1, 0) a row is cosine and sine.
	gain, w := matrix{rows: 1, cols: 1, v: []float64{1}, t: one}.place(t, d, true), matrix{rows: 2, cols: 1, v: []float64{1, 0}, t: one}.place(t, d, false)
	x := floats(t, d, 1, 1, []float64{1})
	for _, pos := range []int{3, 4095, 4096, 8191, 8192} {
		if err := kv.Reserve(0, pos+1); err != nil {
			t.Fatal(err)
		}
		for _, kind := range []device.Phase{device.Decode, device.Prefill} {
			q := emptyInner(t, d, 1, 2)
			d.QKV(kind, q, kv, x, gain, w, w, w, 0, hs, rope, []device.Span{{Start: pos, Len: 1}})
			sin, cos := math.Sincos(float64(float32(pos) * rope.InvFreq[0]))
			if got := read(d, q); math.Abs(float64(got[0])-cos) > 0x1p-8 || math.Abs(float64(got[1])-sin) > 0x1p-8 {
				t.Errorf("%v: position %d: want %g and %g, got %v", kind, pos, cos, sin, got)
			}
		}
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}

// freeScratch frees all scratch, as on a new device.
func freeScratch(d *Device) {
	for s, b := range d.scratch {
		if b != nil {
			b.Free()
		}
		d.scratch[s] = nil
	}
}

// If later operations of a pass need more scratch than earlier ones, each gives the result
// that it gives alone.
func TestScratchGrowsInPass(t *testing.T) {
	d := open(t, orders[0])
	r := rand.New(rand.NewPCG(5, 5))
	dt := checkpoint.BF16
	type job struct {
		y, x *buffer
		w    device.Weight
		want []float32
	}
	var jobs []job
	for _, s := range [][3]int{{3, 4, 8}, {3, 9, 300}, {40, 20, 700}, {2, 5, 8}} { // n, out, in
		v := normal(r, s[0]*s[2])
		jobs = append(jobs, job{y: floats(t, d, s[0], s[1], nil), x: floats(t, d, s[0], s[2], v), w: randomMatrix(r, s[1], s[2], dt).place(t, d, false)})
	}
	run := func(j job) { d.Linear(device.Prefill, j.y, j.x, j.x.rows, j.w) }
	for i := range jobs {
		freeScratch(d)
		run(jobs[i])
		jobs[i].want = read(d, jobs[i].y)
	}
	freeScratch(d)
	for _, j := range jobs {
		if err := d.driver.Clear(j.y.p, j.y.bytes()); err != nil {
			t.Fatal(err)
		}
		run(j)
	}
	for i, j := range jobs {
		for k, v := range read(d, j.y) {
			if v != j.want[k] {
				t.Fatalf("product %d: number %d: want %g, got %g", i, k, j.want[k], v)
			}
		}
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}

// A captured step keeps using the memory that it was captured with after scratch and the RoPE
// cache have grown.
func TestScratchGrowsUnderGraph(t *testing.T) {
	d := open(t, orders[0])
	freeScratch(d)
	r := rand.New(rand.NewPCG(6, 6))
	hs, dt := device.AttentionShape{H: 2, K: 1, Dh: 8}, checkpoint.BF16
	const D, V, limit = 16, 50, 2 * pageSize
	table, gain := randomMatrix(r, V, D, dt).place(t, d, false), randomMatrix(r, 1, D, dt).place(t, d, true)
	wq, wk, wv, wo := randomMatrix(r, 16, D, dt).place(t, d, false), randomMatrix(r, 8, D, dt).place(t, d, false), randomMatrix(r, 8, D, dt).place(t, d, false), randomMatrix(r, D, 16, dt).place(t, d, false)
	rope := device.RoPEFrequencies{InvFreq: []float32{1, 0.5, 0.25, 0.125}}
	x, q, a := floats(t, d, 2, D, nil), emptyInner(t, d, 2, 16), emptyInner(t, d, 2, 16)
	kv, err := d.NewKVCache(2, 1<<20, hs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kv.Free)
	for seq := range 2 {
		if err := kv.Reserve(seq, limit); err != nil {
			t.Fatal(err)
		}
	}
	spans := []device.Span{{Slot: 1, Row: 0, Len: 1}, {Slot: 0, Row: 1, Len: 1}}
	rows, err := d.NewDecodeRows(2, 2, V)
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Capture(rows, 2, limit, func() {
		d.Embed(x, table, []int{0, 0})
		d.QKV(device.Decode, q, kv, x, gain, wq, wk, wv, 1e-5, hs, rope, spans)
		d.Attention(device.Decode, a, q, kv, hs, spans)
		d.AddLinear(device.Decode, x, a, 2, wo)
		d.Sample(device.LMHead{Phase: device.Decode, X: x, Norm: gain, W: table, Eps: 1e-5}, 2, false)
	})
	if err != nil {
		t.Fatal(err)
	}
	run := func() (all [][]int) {
		by := device.SamplingParams{Temperature: 1, RepetitionPenalty: 1.1}
		for i, row := range []device.DecodeRow{{Token: 3, Slot: 1, Position: limit - 4, Sampling: by, Stream: 3, Seen: []int{1}}, {Token: 5, Slot: 0, Sampling: by, Stream: 4, Seen: []int{2}}} {
			if err := rows.Set(i, row); err != nil {
				t.Fatal(err)
			}
		}
		for range 4 {
			if err := s.Launch(); err != nil {
				t.Fatal(err)
			}
		}
		for range 4 {
			tokens := make([]int, 2)
			if err := s.Wait(tokens); err != nil {
				t.Fatal(err)
			}
			all = append(all, tokens)
		}
		return all
	}
	want := run()
	var used []scratchKind
	for s, b := range d.scratch {
		if b != nil {
			used = append(used, scratchKind(s))
		}
	}
	if len(used) < 5 {
		t.Fatalf("want a step that needs scratch memory, got %v", used)
	}
	before := d.used
	for _, s := range used { // larger: the old buffers are only the step's
		d.scratchMemory(s, 2*d.scratch[s].cols, true)
	}
	d.ropeTable(rope, 1<<16)
	grown := d.used
	if got := run(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("want %v again, got %v", want, got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if d.used >= grown || grown <= before {
		t.Errorf("want the step to free what it alone used, got %d bytes before it was closed, %d afterwards", grown, d.used)
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}
