package kvcache

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"mop/runtime/config"
	"mop/runtime/device"
)

// fakeDevice counts the pages that slots hold. After left more of them it has no memory.
type fakeDevice struct {
	device.Device
	left   int
	layers []*fakeLayer
}

type fakeLayer struct {
	d     *fakeDevice
	shape device.AttentionShape
	pages map[int]int // by slot
	freed bool
}

const fakePage = 4

func (d *fakeDevice) NewKVCache(_, _ int, hs device.AttentionShape) (device.KVCache, error) {
	l := &fakeLayer{d: d, shape: hs, pages: map[int]int{}}
	d.layers = append(d.layers, l)
	return l, nil
}

func (l *fakeLayer) PageSize() int    { return fakePage }
func (l *fakeLayer) PageBytes() int64 { return int64(2 * 4 * fakePage * l.shape.K * l.shape.Dh) }
func (l *fakeLayer) Free()            { l.freed = true }
func (l *fakeLayer) Release(slot int) { l.d.left += l.pages[slot]; delete(l.pages, slot) }
func (l *fakeLayer) Reserve(slot, positions int) error {
	for l.pages[slot]*fakePage < positions {
		if l.d.left == 0 {
			return device.ErrMemory
		}
		l.d.left--
		l.pages[slot]++
	}
	return nil
}

// heterogeneous is a model of which no two layers are alike and one has no attention.
func heterogeneous() *config.Config {
	return &config.Config{HiddenSize: 8, HeadDim: 4, Layers: []config.LayerShape{
		{Heads: 4, KVHeads: 2, HeadDim: 4, Intermediate: 3}, {HeadDim: 4, Intermediate: 5}, {Heads: 1, KVHeads: 1, HeadDim: 4}}}
}

// Slots are allocated lowest first, and what a sequence took returns when it is freed.
func TestAllocAndFree(t *testing.T) {
	d := &fakeDevice{left: 1000}
	k, err := New(d, heterogeneous(), Options{Slots: 3, MaxPositions: 10})
	if err != nil {
		t.Fatal(err)
	}
	if k.Layers[1] != nil || k.PageBytes() != 2*4*fakePage*(2+1)*4 || k.PageSize() != fakePage {
		t.Errorf("want pages of the two layers with attention, got %d bytes of %d positions, %v", k.PageBytes(), k.PageSize(), k.Layers)
	}
	for want := range 3 {
		if got, err := k.Alloc(); err != nil || got != want {
			t.Fatalf("want slot %d, got %d, %v", want, got, err)
		}
	}
	if _, err := k.Alloc(); !errors.Is(err, ErrSlots) {
		t.Errorf("a fourth sequence: want %v, got %v", ErrSlots, err)
	}
	for slot, n := range []int{10, 1, 5} {
		if err := k.Reserve(slot, n); err != nil {
			t.Fatal(err)
		}
		k.Append(slot, n)
	}
	if used, free := k.Pages(); used != 3+1+2 || free != 9-6 {
		t.Errorf("want 6 pages used and 3 free, got %d and %d", used, free)
	}
	k.Free(1)
	k.Free(1)
	if used, free := k.Pages(); used != 5 || free != 4 || k.Len(1) != 0 || k.Allocated(1) || k.Len(2) != 5 {
		t.Errorf("after slot 1 is freed: got %d pages used, %d free, lengths %d and %d", used, free, k.Len(1), k.Len(2))
	}
	if err := k.Reserve(1, 1); err == nil {
		t.Error("want a slot without a sequence refused")
	}
	if got, err := k.Alloc(); err != nil || got != 1 || k.Len(1) != 0 {
		t.Errorf("want slot 1 again and empty, got %d of %d positions, %v", got, k.Len(1), err)
	}
	if err := k.Reserve(1, 11); err == nil || errors.Is(err, device.ErrMemory) {
		t.Errorf("want positions past the end refused, got %v", err)
	}
	k.Reset()
	if used, free := k.Pages(); used != 0 || free != 9 || d.left != 1000 {
		t.Errorf("after a reset: want 9 free pages, got %d used, %d free, %d of the device's", used, free, d.left)
	}
	k.Close()
	for _, l := range d.layers {
		if !l.freed {
			t.Error("a layer was not freed")
		}
	}
}

// A limit of memory bounds the pages in use; the pool stays usable when it is reached.
func TestMemoryLimit(t *testing.T) {
	c := heterogeneous()
	one := int64(2 * 4 * fakePage * (2 + 1) * 4)
	if _, err := New(&fakeDevice{}, c, Options{Slots: 2, MaxPositions: 100, MemoryLimit: one - 1}); !errors.Is(err, device.ErrMemory) {
		t.Errorf("less than a page: want %v, got %v", device.ErrMemory, err)
	}
	k, err := New(&fakeDevice{left: 1000}, c, Options{Slots: 2, MaxPositions: 100, MemoryLimit: 5*one + one/2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.AllocN(2); err != nil {
		t.Fatal(err)
	}
	if err := k.Reserve(0, 3*fakePage); err != nil {
		t.Fatal(err)
	}
	if err := k.Reserve(1, 3*fakePage); !errors.Is(err, device.ErrMemory) {
		t.Fatalf("want %v, got %v", device.ErrMemory, err)
	}
	if used, free := k.Pages(); used != 3 || free != 2 {
		t.Errorf("want a refused reservation to take nothing, got %d used and %d free", used, free)
	}
	if err := k.Reserve(1, 2*fakePage); err != nil {
		t.Errorf("what there is: %v", err)
	}
	k.Free(0)
	if err := k.Reserve(1, 5*fakePage); err != nil {
		t.Errorf("after another sequence was freed: %v", err)
	}
}

// A device whose memory ends in the middle of a reservation leaves a cache that goes on,
// and gives all pages back.
func TestDeviceWithoutMemory(t *testing.T) {
	for left := range 12 {
		d := &fakeDevice{left: left}
		k, err := New(d, heterogeneous(), Options{Slots: 2, MaxPositions: 100})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.AllocN(2); err != nil {
			t.Fatal(err)
		}
		first, second := k.Reserve(0, 3*fakePage), k.Reserve(1, 3*fakePage)
		if (first == nil) != (left >= 6) || second == nil || !errors.Is(second, device.ErrMemory) {
			t.Errorf("%d pages: got %v and %v", left, first, second)
		}
		d.left += 20
		if err := k.Reserve(1, 3*fakePage); err != nil {
			t.Errorf("%d pages: with more memory: %v", left, err)
		}
		k.Reset()
		if used, _ := k.Pages(); used != 0 || d.left != left+20 {
			t.Errorf("%d pages: want all back, got %d used and %d left", left, used, d.left)
		}
	}
}

// Whatever is allocated, reserved and freed in whatever order, also where the device's memory
// ends in between, the pages that count as used are those of the reservations that were
// granted, and the layers hold them.
func TestCountsOfPages(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	d := &fakeDevice{left: 60}
	k, err := New(d, heterogeneous(), Options{Slots: 5, MaxPositions: 40})
	if err != nil {
		t.Fatal(err)
	}
	var granted [5]int
	for range 2000 {
		slot := r.IntN(5)
		switch n := 1 + r.IntN(40); r.IntN(4) {
		case 0:
			k.Free(slot)
			granted[slot] = 0
		case 1:
			k.Alloc()
		default:
			if k.Reserve(slot, n) == nil {
				granted[slot] = max(granted[slot], k.PagesFor(n))
			}
		}
		used, free := k.Pages()
		want := 0
		for s, n := range granted {
			want += n
			if held := min(d.layers[0].pages[s], d.layers[1].pages[s]); held < n {
				t.Fatalf("slot %d: want %d pages in each layer, got %d", s, n, held)
			}
		}
		if used != want || used+free != 5*10 {
			t.Fatalf("want %d pages used of 50, got %d and %d free", want, used, free)
		}
	}
	k.Reset()
	if d.left != 60 {
		t.Errorf("want all pages back, got %d of 60", d.left)
	}
	if got := fmt.Sprint(k.PagesFor(0), k.PagesFor(1), k.PagesFor(fakePage), k.PagesFor(fakePage+1)); got != "0 1 1 2" {
		t.Errorf("pages for 0, 1, %d and %d positions: got %s", fakePage, fakePage+1, got)
	}
}

// A cache for whole passes has the memory of one layer of each shape, and keeps its pages.
func TestWholePasses(t *testing.T) {
	c := heterogeneous()
	c.Layers = append(c.Layers, c.Layers...)
	d := &fakeDevice{left: 100}
	k, err := NewWhole(d, c, 9)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.layers) != 2 || k.Layers[0] != k.Layers[3] || k.Layers[2] != k.Layers[5] || k.Layers[1] != nil {
		t.Errorf("want two layers' memory, got %d", len(d.layers))
	}
	for range 2 {
		if err := k.Reserve(0, 9); err != nil {
			t.Fatal(err)
		}
		k.Append(0, 9)
		k.Reset()
		if used, free := k.Pages(); used != 3 || free != 0 || k.Len(0) != 0 || !k.Allocated(0) || d.left != 100-2*3 {
			t.Errorf("after a reset: got %d pages used, %d free, %d positions, %d pages of the device's", used, free, k.Len(0), d.left)
		}
	}
	k.Close()
}

// A model without attention needs no pages.
func TestNoAttention(t *testing.T) {
	c := heterogeneous()
	c.Layers = c.Layers[1:2]
	k, err := New(&fakeDevice{}, c, Options{Slots: 1, MaxPositions: 9, MemoryLimit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Alloc(); err != nil {
		t.Fatal(err)
	}
	if err := k.Reserve(0, 9); err != nil || k.PagesFor(9) != 0 {
		t.Errorf("got %d pages, %v", k.PagesFor(9), err)
	}
}

// A sequence that is cut keeps its pages, and can be continued to where it was.
func TestTruncate(t *testing.T) {
	d := &fakeDevice{left: 100}
	k, err := New(d, heterogeneous(), Options{Slots: 1, MaxPositions: 8})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Alloc(); err != nil {
		t.Fatal(err)
	}
	if err := k.Reserve(0, 7); err != nil {
		t.Fatal(err)
	}
	k.Append(0, 7)
	before, _ := k.Pages()
	if err := k.Truncate(0, 3); err != nil || k.Len(0) != 3 {
		t.Errorf("want 3 positions, got %d: %v", k.Len(0), err)
	}
	if after, _ := k.Pages(); after != before {
		t.Errorf("want %d pages, got %d", before, after)
	}
	for _, n := range []int{-1, 4} {
		if err := k.Truncate(0, n); err == nil {
			t.Errorf("%d positions to keep: want an error", n)
		}
	}
}
