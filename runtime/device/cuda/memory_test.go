//go:build cuda || cudaemu

package cuda

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// An operation that finds no room for its own memory fails its pass, which is told
// once; the next pass over the same rows is right.
func TestNoRoomInAPass(t *testing.T) {
	d := open(t, orders[0])
	r := rand.New(rand.NewPCG(4, 4))
	hs := device.Heads{H: 2, K: 1, Dh: 8}
	const N, D = 3, 24
	dt := checkpoint.BF16
	gain, wq, wk, wv := randomMatrix(r, 1, D, dt).place(t, d, true), randomMatrix(r, 16, D, dt).place(t, d, false), randomMatrix(r, 8, D, dt).place(t, d, false), randomMatrix(r, 8, D, dt).place(t, d, false)
	x := floats(t, d, N, D, normal(r, N*D))
	rope := device.Rope{InvFreq: []float32{1, 0.5, 0.25, 0.125}}
	pass := func(seq int, before func()) ([]float32, error) {
		spans := []device.Span{{Seq: seq, Start: 4, Len: N}}
		kv, err := d.Cache(2, 64, hs)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Extend(kv, seq, 4+N); err != nil {
			t.Fatal(err)
		}
		q := emptyInner(t, d, N, 16)
		before()
		d.QKV(device.Decode, q, kv, x, gain, wq, wk, wv, 1e-5, hs, rope, spans)
		if err := d.Extend(kv, 1-seq, 4+N); d.err != nil && !errors.Is(err, device.ErrMemory) {
			t.Errorf("extending a cache after a failure: got %v", err)
		}
		return readIf(d, q), d.Sync()
	}
	none := func() {}
	want, err := pass(1, none)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pass(0, none); err != nil { // other places lie there now
		t.Fatal(err)
	}
	_, err = pass(1, func() { d.need("more than there is", 1<<46, false) })
	if !errors.Is(err, device.ErrMemory) || !strings.HasPrefix(err.Error(), "cuda: "+device.ErrMemory.Error()+": want 70368744177664 bytes ") || !strings.Contains(err.Error(), " free of ") || !strings.HasSuffix(err.Error(), `, for "more than there is" of an operation`) {
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

// readIf reads a 16-bit buffer where nothing has failed.
func readIf(d *Device, b device.Buffer) []float32 {
	if d.err != nil {
		return nil
	}
	return read(d, b)
}

// Bytes without padding go up in one, however many; numbers that a kernel's
// arguments do not hold are refused.
func TestLargeUpload(t *testing.T) {
	d := open(t, orders[0])
	const n = 40 << 20 // bytes, more than a half of the ring of pinned memory
	v := make([]byte, n)
	for i := range v {
		v[i] = byte(i * 7 >> 3)
	}
	p := put(d, "large", v)
	for i, b := range get[byte](d, p, n) {
		if b != v[i] {
			t.Fatalf("byte %d: want %d, got %d", i, v[i], b)
		}
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	delete(d.scratch, "large")
	d.launch("round_bf16", [3]int{1, 1, 1}, 256, 0, p, 64, p, 64, 1<<31)
	if err := d.err; err == nil || !strings.Contains(err.Error(), "round_bf16: argument 4: want a number of 32 bits, got 2147483648") {
		t.Errorf("want the number refused, got %v", err)
	}
	d.err = nil
}
