//go:build cuda || cudaemu

package cuda

import (
	"errors"
	"fmt"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

// slabBytes bounds the size of a slab.
const slabBytes = 32 << 20

// kvCache is the KV cache of one layer: a table of page addresses in device memory, and the
// pages of each slot. A page has the keys and then the values of 64 positions: see
// kernels/cuda/types.cuh.
type kvCache struct {
	device       *Device
	table        *buffer // [slots+1, maxPages] addresses; the last row is the padding slot's
	slots        int
	maxPages     int // pages of a slot
	maxPositions int
	heads        device.AttentionShape
	dtype        checkpoint.DType // of its numbers, or of those that are rounded to 8 bits
	int8         bool
	held         *heldPages
	hasPadding   bool // the slot of padding rows has a page
}

// heldPages are the pages of a cache's slots.
type heldPages struct {
	pool   *pagePool
	slots  [][]pointer     // of each slot, in the order of positions
	shared map[pointer]int // how many slots have a page beside one
}

// releaseAll returns all pages to their pool.
func (h *heldPages) releaseAll() {
	for slot := range h.slots {
		h.release(slot)
	}
}

// release returns the pages to their pool that a slot alone has.
func (h *heldPages) release(slot int) {
	for _, p := range h.slots[slot] {
		switch others := h.shared[p]; others {
		case 0:
			h.pool.free = append(h.pool.free, p)
		case 1:
			delete(h.shared, p)
		default:
			h.shared[p] = others - 1
		}
	}
	h.slots[slot] = nil
}

// pagePool has pages of one size, which all layers and caches with that size share. It grows by
// slabs of at most half as many pages as are in use.
type pagePool struct {
	bytes int64 // of a page
	slabs []pageSlab
	free  []pointer

	paddingPage pointer // the page of padding rows; 0 until it is needed
}

// pageSlab is n pages in one allocation.
type pageSlab struct {
	p pointer
	n int
}

// NewKVCache allocates a layer's page table. In the pages the head size is rounded up to a
// multiple of 8, or of 16 where the cache has 8 bits.
func (d *Device) NewKVCache(slots, maxPositions int, hs device.AttentionShape) (device.KVCache, error) {
	return d.newKVCache(slots, maxPositions, hs, d.int8KV)
}

// NewPreciseKVCache makes a cache of 16 bits: see device.PreciseCacher.
func (d *Device) NewPreciseKVCache(slots, maxPositions int, hs device.AttentionShape) (device.KVCache, error) {
	return d.newKVCache(slots, maxPositions, hs, false)
}

// NewKVCacheOf: see device.CacheTyper.
func (d *Device) NewKVCacheOf(kind string, slots, maxPositions int, hs device.AttentionShape) (device.KVCache, error) {
	if _, _, ok := d.CacheTypeBytes(kind); !ok {
		return nil, fmt.Errorf("cuda: cache: want one of the types 16-bit, int8, got %q", kind)
	}
	return d.newKVCache(slots, maxPositions, hs, kind == "int8")
}

// CacheTypeBytes: see device.CacheTyper.
func (d *Device) CacheTypeBytes(kind string) (element, scale int, ok bool) {
	if kind == "int8" {
		return 1, scaleBytes, true
	}
	return 2, 0, kind == "16-bit"
}

func (d *Device) newKVCache(slots, maxPositions int, hs device.AttentionShape, int8KV bool) (device.KVCache, error) {
	if slots < 0 || maxPositions < 0 || hs.K < 0 || hs.Dh < 0 || hs.Dh > maxHeadSize || hs.Dh%2 != 0 {
		return nil, fmt.Errorf("cuda: cache: want an even head size up to %d, got %d slots of %d positions, %d heads of %d", maxHeadSize, slots, maxPositions, hs.K, hs.Dh)
	}
	d.begin("cache")
	size := int64(2 * pageSize * hs.K * roundUp(hs.Dh, 8) * 2)
	if int8KV {
		size = int8PageBytes(hs)
	}
	size = max(size, 16)
	of := d.pools[size]
	if of == nil {
		of = &pagePool{bytes: size}
		d.pools[size] = of
	}
	c := &kvCache{device: d, slots: slots, maxPages: ceilDiv(maxPositions, pageSize), maxPositions: maxPositions, heads: hs, dtype: d.typeFor(checkpoint.F32), int8: int8KV,
		held: &heldPages{pool: of, slots: make([][]pointer, slots), shared: map[pointer]int{}}}
	var err error
	if c.table, err = d.zeroed(slots+1, c.maxPages, c.maxPages, 8); err != nil {
		return nil, err
	}
	return c, nil
}

// PageSize returns the number of positions of a page.
func (c *kvCache) PageSize() int { return min(pageSize, max(c.maxPositions, 1)) }

// PageBytes returns the size of a page in bytes.
func (c *kvCache) PageBytes() int64 { return c.held.pool.bytes }

// positionBytes returns the bytes of a position's keys and values, without padding.
func (c *kvCache) positionBytes() float64 {
	if c.int8 {
		return 2 * float64(c.heads.K) * float64(c.heads.Dh+scaleBytes)
	}
	return 4 * float64(c.heads.K*c.heads.Dh)
}

// kernelPart returns what names of attention kernels say about the cache's type.
func (c *kvCache) kernelPart() string {
	if c.int8 {
		return "i8_"
	}
	return ""
}

// isInt8 reports whether a cache has 8 bits.
func isInt8(kv device.KVCache) bool {
	c, ok := kv.(*kvCache)
	return ok && c.int8
}

// Reserve: see device.KVCache.
func (c *kvCache) Reserve(slot, positions int) error {
	if slot < 0 || slot >= c.slots || positions > c.maxPositions {
		return fmt.Errorf("cuda: cache: want one of %d slots and at most %d positions, got slot %d and %d", c.slots, c.maxPositions, slot, positions)
	}
	return c.reserve(slot, positions)
}

func (c *kvCache) reserve(slot, positions int) error {
	d, first := c.device, len(c.held.slots[slot])
	want := ceilDiv(positions, pageSize) - first
	if want <= 0 || d.err != nil {
		return d.err
	}
	d.begin("reserve", c.operand())
	var taken []pointer
	var failed error
	for len(taken) < want {
		at, err := d.takePage(c.held.pool)
		if err == nil {
			taken = append(taken, at)
			if c.heads.Dh%8 != 0 && !c.int8 { // the padding columns of each head must be zero
				if err = d.driver.Clear(at, c.held.pool.bytes); err != nil {
					err = d.failWith(fmt.Errorf("%v: clearing a page: %w", d.currentOperation, err))
				}
			}
		}
		if err != nil {
			failed = fmt.Errorf("%d positions of slot %d: %w", positions, slot, err)
			break
		}
	}
	d.uploadBytes(c.table.row(slot)+pointer(8*first), bytesOf(taken), "pages")
	if d.err != nil { // the table was not updated
		c.held.pool.free = append(c.held.pool.free, taken...)
		return d.err
	}
	c.held.slots[slot] = append(c.held.slots[slot], taken...)
	return failed
}

// Share: see device.PageSharer.
func (c *kvCache) Share(to, from, pages int) error {
	d, slots := c.device, c.held.slots
	if to < 0 || to >= c.slots || from < 0 || from >= c.slots || len(slots[to]) > 0 || pages < 0 || pages > len(slots[from]) {
		return fmt.Errorf("cuda: cache: want %d pages of slot %d for slot %d without pages, of %d slots", pages, from, to, c.slots)
	}
	if pages == 0 || d.err != nil {
		return d.err
	}
	d.begin("share", c.operand())
	list := slots[from][:pages]
	if d.uploadBytes(c.table.row(to), bytesOf(list), "pages"); d.err != nil { // the table was not updated
		return d.err
	}
	for _, p := range list {
		c.held.shared[p]++
	}
	slots[to] = append(slots[to], list...)
	return nil
}

// Release: see device.KVCache. Queued steps may still use the pages: whoever takes them next
// is queued later in the same stream.
func (c *kvCache) Release(slot int) {
	if slot >= 0 && slot < c.slots {
		c.held.release(slot)
	}
}

// Free: see device.KVCache.
func (c *kvCache) Free() {
	if c.table == nil {
		return
	}
	c.held.releaseAll()
	c.table.Free()
	c.table = nil
}

// addPadding gives a page to the slot of padding rows, which is the last one. All caches of a
// pool use the same page, because its contents are never used.
func (c *kvCache) addPadding() {
	d, of := c.device, c.held.pool
	if c.hasPadding || d.err != nil {
		return
	}
	if of.paddingPage == 0 {
		p, err := d.takePage(of)
		if err != nil {
			d.fail(err)
			return
		}
		of.paddingPage = p
		if err := d.driver.Clear(p, of.bytes); err != nil {
			d.fail(fmt.Errorf("%v: clearing a page: %w", d.currentOperation, err))
			return
		}
	}
	d.uploadBytes(c.table.row(c.slots), bytesOf([]pointer{of.paddingPage}), "the page of padding rows")
	c.hasPadding = d.err == nil
}

// operand describes the cache in errors.
func (c *kvCache) operand() operand {
	return operand{name: "cache", rows: c.slots * c.maxPositions, cols: c.heads.K * c.heads.Dh}
}

// cacheOperand describes a cache of any device.
func cacheOperand(kv device.KVCache) operand {
	if c, ok := kv.(*kvCache); ok {
		return c.operand()
	}
	return operand{name: "cache"}
}

// takePage removes a free page from a pool, which grows if it has none.
func (d *Device) takePage(of *pagePool) (pointer, error) {
	if len(of.free) == 0 {
		if err := d.grow(of); err != nil {
			return 0, err
		}
	}
	p := of.free[len(of.free)-1]
	of.free = of.free[:len(of.free)-1]
	return p, nil
}

// grow adds a slab to a pool. The slab has one page if there is no memory for more.
func (d *Device) grow(of *pagePool) error {
	used := 0
	for _, s := range of.slabs {
		used += s.n
	}
	n := max(1, min(used/2, int(slabBytes/of.bytes)))
	p, err := d.driver.Alloc(int64(n) * of.bytes)
	if err != nil && !errors.Is(err, driver.ErrMemory) {
		return d.failWith(fmt.Errorf("%v: %d bytes for pages: %w", d.currentOperation, int64(n)*of.bytes, err))
	}
	if err == nil {
		d.countMemory(int64(n) * of.bytes)
	} else {
		n = 1
		if p, err = d.memory(of.bytes, "a page of the cache"); err != nil {
			return err
		}
	}
	of.slabs = append(of.slabs, pageSlab{p, n})
	for i := range n {
		of.free = append(of.free, p+pointer(int64(i)*of.bytes))
	}
	return nil
}

// shrink frees the slabs that have no page in use.
func (d *Device) shrink() {
	for _, of := range d.pools {
		var slabs []pageSlab
		for _, s := range of.slabs {
			end := s.p + pointer(int64(s.n)*of.bytes)
			var rest []pointer
			for _, p := range of.free {
				if p < s.p || p >= end {
					rest = append(rest, p)
				}
			}
			if len(of.free)-len(rest) < s.n {
				slabs = append(slabs, s)
				continue
			}
			of.free = rest
			d.freeMemory(s.p, int64(s.n)*of.bytes)
		}
		of.slabs = slabs
	}
}

// checkReserved returns the cache of an operation. It refuses caches of another shape and
// positions that have no pages.
func (d *Device) checkReserved(what string, kv device.KVCache, hs device.AttentionShape, spans []device.Span) *kvCache {
	c, ok := kv.(*kvCache)
	if !ok || c.table == nil || c.heads.K != hs.K || c.heads.Dh != hs.Dh {
		d.fail(fmt.Errorf("%s: want a cache of %d heads of %d, got %+v", what, hs.K, hs.Dh, kv))
		return nil
	}
	for _, s := range spans {
		if s.Slot < 0 || s.Slot >= c.slots || d.recorder == nil && s.Start+s.Len > len(c.held.slots[s.Slot])*pageSize {
			d.fail(fmt.Errorf("%s: want %d positions of slot %d reserved, got a cache of %d slots", what, s.Start+s.Len, s.Slot, c.slots))
			return nil
		}
	}
	if d.recorder != nil {
		d.retain(c.table)
		if d.recorder.n > 1 { // a step of one row has no padding rows
			c.addPadding()
		}
	}
	return c
}
