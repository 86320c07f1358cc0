//go:build cuda || cudaemu

package cuda

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// A cache allocates memory as positions are added, also where a captured step reaches the
// next page. The tokens equal those of separate passes.
func TestPagesOnDemand(t *testing.T) {
	src, err := checkpoint.Open("../../model/testdata/gqa-bf16")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	d := open(t, orders[0])
	m, err := model.Load(d, src)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	m.Config.MaxPositions = 1 << 20
	host, err := model.Load(struct{ device.Device }{d}, src)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	long := make([]int, 62)
	for i := range long {
		long[i] = 1 + i*7%m.Config.VocabSize/2
	}
	there := func(c *kvcache.Cache) (n int) {
		for _, kv := range c.Layers {
			for _, held := range kv.(*kvCache).held.slots {
				n += len(held)
			}
		}
		return n
	}
	run := func(m *model.Model) (tokens []int) {
		most := 0
		cache, err := kvcache.NewSequences(d, m.Config, 3, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cache.Close)
		if n := there(cache); n != 0 {
			t.Errorf("want no page before there are positions, got %d", n)
		}
		if err := generate.Run(context.Background(), m, cache, [][]int{long, long[:3], long[:60]}, generate.Options{MaxTokens: 8, IgnoreEOS: true}, func(_, next []int) []int {
			tokens = append(tokens, next...)
			most = max(most, there(cache))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		layers := len(m.Config.Layers)
		if most != 5*layers { // of 69, 10 and 67 positions
			t.Errorf("want five pages in each of %d layers, got %d", layers, most)
		}
		if n := there(cache); n != 0 {
			t.Errorf("want all pages back when the sequences have ended, got %d not", n)
		}
		return tokens
	}
	if own, want := run(m), run(host); fmt.Sprint(own) != fmt.Sprint(want) {
		t.Errorf("want %v, got %v", want, own)
	}
}

// Without memory for another page a run ends with an error that says how much was wanted and
// how much is free. Its tokens so far are valid, the device can be used again, and freeing
// another cache makes room.
func TestOutOfMemoryForPage(t *testing.T) {
	d := open(t, orders[0])
	hs := device.AttentionShape{H: 4, K: 4, Dh: 64}
	free, err := d.driver.FreeMemory()
	if err != nil {
		t.Fatal(err)
	}
	one := int64(2 * pageSize * 4 * 64 * 2)
	// All but room for a thousand pages is a single buffer's: a driver hands memory out in
	// pieces of megabytes.
	const width, spare = 1 << 16, 64 << 20
	ballast, err := d.Buffer(int((free-spare)/(4*width)), width)
	if err != nil {
		t.Fatal(err)
	}
	first, err := d.NewKVCache(1, 1<<26, hs) // more than there is, whatever else was given back meanwhile
	if err != nil {
		t.Fatal(err)
	}
	second, err := d.NewKVCache(1, pageSize, hs)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; err == nil; n++ {
		err = first.Reserve(0, n*pageSize)
	}
	if !errors.Is(err, device.ErrMemory) || !strings.Contains(err.Error(), fmt.Sprintf("want %d bytes for a page of the cache, have ", one)) {
		t.Fatalf("want %v with what was wanted and what is free, got %v", device.ErrMemory, err)
	}
	t.Log(err)
	have := len(first.(*kvCache).held.slots[0])
	if int64(have)*one < spare/4 || d.Sync() != nil {
		t.Fatalf("want pages up to the end of memory and a device that works, got %d, %v", have, d.Sync())
	}
	if err := first.Reserve(0, have*pageSize); err != nil {
		t.Errorf("what is there: %v", err)
	}
	if err := second.Reserve(0, 1); !errors.Is(err, device.ErrMemory) {
		t.Fatalf("want %v, got %v", device.ErrMemory, err)
	}
	first.Free()
	first.Free() // again: nothing
	if err := second.Reserve(0, 1); err != nil {
		t.Errorf("after the first cache is freed: %v", err)
	}
	// Slabs without a page in use make room for anything else.
	second.Free()
	b, err := d.Buffer(8, spare/2/8/4)
	if err != nil {
		t.Fatalf("want the slabs' memory, got %v", err)
	}
	b.Free()
	ballast.Free()
}

// The peak of memory counts the slabs of the cache's pages. A slab has half as many pages as
// are in use. Freed slabs no longer count.
func TestPeakBytesOfPages(t *testing.T) {
	d := open(t, orders[0])
	d.shrink()
	start := d.used
	d.peak = start
	hs := device.AttentionShape{H: 3, K: 3, Dh: 20}
	const one, table = int64(2 * pageSize * 3 * 24 * 2), int64(2 * 100 * 8) // the head size is rounded up to 8; a second slot is for padding
	kv, err := d.NewKVCache(1, 100*pageSize, hs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kv.Free)
	there := []int64{1, 2, 3, 4, 6, 6, 9, 9, 9, 13} // pages, after each was asked for
	for i, pages := range there {
		if err := kv.Reserve(0, i*pageSize+1); err != nil {
			t.Fatal(err)
		}
		if got := d.used - start; got != table+pages*one {
			t.Errorf("%d pages: want %d bytes more, got %d", i+1, table+pages*one, got)
		}
	}
	top := start + table + there[len(there)-1]*one
	if d.PeakBytes() != top {
		t.Errorf("want a peak of %d bytes, got %d", top, d.PeakBytes())
	}
	if err := kv.Reserve(0, 5); err != nil || d.used != top {
		t.Errorf("positions that are there: want nothing new, got %d bytes, %v", d.used-top, err)
	}
	kv.Free()
	d.shrink()
	if got := d.used; got != start || d.PeakBytes() != top {
		t.Errorf("without the cache: want %d bytes and a peak of %d, got %d and %d", start, top, got, d.PeakBytes())
	}
}

// Released pages go to the cache that reserves next, with zeros in the padding of the heads.
func TestReleasedPagesAreReused(t *testing.T) {
	d := open(t, orders[0])
	hs := device.AttentionShape{H: 1, K: 1, Dh: 6}
	var first map[uint64]bool
	for round := range 2 {
		kv, err := d.NewKVCache(2, 3*pageSize, hs)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(kv.Free)
		p := kv.(*kvCache)
		for seq, n := range []int{pageSize, 2*pageSize + 1} {
			if err := kv.Reserve(seq, n); err != nil {
				t.Fatal(err)
			}
		}
		table, seen := download[uint64](d, p.table.p, p.slots*p.maxPages), map[uint64]bool{}
		for i, want := range []bool{true, false, false, true, true, true} {
			if (table[i] != 0) != want || seen[table[i]] && want {
				t.Fatalf("round %d: want pages of their own at 0, 3, 4 and 5, got %#x", round, table)
			}
			if want {
				seen[table[i]] = true
			}
		}
		for at := range seen {
			if round == 1 && !first[at] {
				t.Errorf("want the pages of before, got one at %#x", at)
			}
			for i, v := range download[uint16](d, pointer(at), 2*pageSize*8) {
				if v != 0 {
					t.Fatalf("round %d: number %d: want zeros, got %#x", round, i, v)
				}
			}
			junk := make([]byte, 2*pageSize*8*2)
			for i := range junk {
				junk[i] = 7
			}
			if err := d.driver.Upload(pointer(at), len(junk), junk, len(junk)); err != nil {
				t.Fatal(err)
			}
		}
		first = seen
		if round == 0 {
			kv.Release(0)
			kv.Release(1)
			if held, free := len(p.held.slots[0])+len(p.held.slots[1]), len(p.held.pool.free); held != 0 || free < 4 {
				t.Errorf("want the slots' pages in the pool, got %d held and %d free", held, free)
			}
		}
		kv.Free()
		kv.Free() // does nothing
	}
}

// Slabs at adjacent addresses are kept apart: each is freed with its own pages.
func TestAdjacentSlabs(t *testing.T) {
	const bytes = 256
	for used := range 4 { // a bit for each slab: its second page is in use
		c := &countingDriver{capacity: 1 << 20, sizes: map[pointer]int64{}}
		d := newDevice(c)
		of := &pagePool{bytes: bytes}
		d.pools[bytes] = of
		want := 0
		for i := range 2 {
			at := pointer(1<<20 + i*2*bytes)
			c.sizes[at], c.used, d.used = 2*bytes, c.used+2*bytes, d.used+2*bytes
			of.slabs, of.free = append(of.slabs, pageSlab{at, 2}), append(of.free, at)
			if used>>i&1 == 0 {
				of.free = append(of.free, at+bytes)
			} else {
				want++
			}
		}
		d.shrink()
		if len(of.slabs) != want || len(of.free) != want || len(c.sizes) != want || d.used != int64(want*2*bytes) {
			t.Errorf("used %02b: want %d slabs, as many free pages, got %v and %v, %d allocated, %d bytes", used, want, of.slabs, of.free, len(c.sizes), d.used)
		}
	}
}

// If memory ends while pages are reserved, the sequence keeps the pages that were allocated.
func TestOutOfMemoryAfterSomePages(t *testing.T) {
	c := &countingDriver{capacity: 1 << 30, sizes: map[pointer]int64{}}
	d := newDevice(c)
	hs := device.AttentionShape{H: 1, K: 1, Dh: 8}
	const one = int64(2 * pageSize * 8 * 2)
	kv, err := d.NewKVCache(1, 100*pageSize, hs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kv.Free)
	c.capacity = c.used + 3*one + one/2
	if err := kv.Reserve(0, 10*pageSize); !errors.Is(err, device.ErrMemory) {
		t.Fatalf("want %v, got %v", device.ErrMemory, err)
	}
	if got := len(kv.(*kvCache).held.slots[0]); got != 3 {
		t.Errorf("want 3 pages, got %d", got)
	}
	c.capacity += 7 * one
	if err := kv.Reserve(0, 10*pageSize); err != nil || len(kv.(*kvCache).held.slots[0]) != 10 {
		t.Errorf("with room: want 10 pages, got %d, %v", len(kv.(*kvCache).held.slots[0]), err)
	}
}

// Pages that slots share are free when none of the slots has them any more.
func TestSharedPages(t *testing.T) {
	d := newDevice(&countingDriver{capacity: 1 << 30, sizes: map[pointer]int64{}})
	kv, err := d.NewKVCache(4, 10*pageSize, device.AttentionShape{H: 1, K: 1, Dh: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kv.Free)
	if err := kv.Reserve(0, 3*pageSize); err != nil {
		t.Fatal(err)
	}
	c := kv.(device.PageSharer)
	for _, wrong := range [][3]int{{0, 0, 1}, {1, 0, 4}, {1, 0, -1}, {4, 0, 1}, {1, 4, 1}, {-1, 0, 1}} {
		if err := c.Share(wrong[0], wrong[1], wrong[2]); err == nil {
			t.Errorf("%v: want an error", wrong)
		}
	}
	held := kv.(*kvCache).held
	free := func() int { return len(held.pool.free) }
	for to := 1; to <= 3; to++ {
		if err := c.Share(to, to-1, 3-to/2); err != nil { // 3, 2 and 2 pages
			t.Fatal(err)
		}
	}
	if err := kv.Reserve(3, 4*pageSize); err != nil || !slices.Equal(held.slots[3][:2], held.slots[0][:2]) || held.slots[3][2] == held.slots[0][2] {
		t.Errorf("want 2 shared pages and 2 others, got %v beside %v, %v", held.slots[3], held.slots[0], err)
	}
	before := free()
	for i, want := range []int{0, 1, 1, 5} { // the third page goes with slot 1, the others with slot 3
		kv.Release(i)
		if got := free() - before; got != want {
			t.Errorf("after slot %d: want %d free pages more, got %d", i, want, got)
		}
	}
	if len(held.shared) != 0 {
		t.Errorf("want no shared pages, got %v", held.shared)
	}
}
