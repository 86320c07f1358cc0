package cpu

import (
	"fmt"
	"unsafe"

	kernel "mop/kernels/cpu"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// pageSize is the number of positions of a page: a chunk of decode attention, and some
// blocks of prefill attention, so that neither meets the end of a page on its way.
const pageSize = attentionChunk

// kvCache is one layer's cache.
type kvCache struct {
	set          kernel.Set
	kind         checkpoint.DType // of its numbers
	size         int              // positions of a page
	int8         bool             // its numbers have 8 bits, with scales; kind does not apply
	heads, dh    int              // K and Dh
	maxPositions int
	slots        [][]kvPage // the pages of each slot, in the order of positions
	free         []kvPage
}

// kvPage is the keys and values of some consecutive positions. Those of a head follow one another
// in memory.
type kvPage struct {
	keys, values kvRows
	users        *int // slots that have it
}

// kvRows are keys or values in the type of the cache: exactly one slice is set.
type kvRows struct {
	f32       []float32 // [K, size, Dh]
	f16, bf16 []uint16  // [K, size, Dh]
	i8        *int8Rows
}

// newKVRows allocates n numbers.
func newKVRows(kind checkpoint.DType, n int) kvRows {
	switch kind {
	case checkpoint.F16:
		return kvRows{f16: make([]uint16, n)}
	case checkpoint.BF16:
		return kvRows{bf16: make([]uint16, n)}
	}
	return kvRows{f32: make([]float32, n)}
}

// store rounds x to the type of the cache and writes it at element i.
func (r *kvRows) store(set kernel.Set, i int, x []float32) {
	switch {
	case r.f16 != nil:
		set.NarrowF16(r.f16[i:i+len(x)], x)
	case r.bf16 != nil:
		set.RoundBF16(r.bf16[i:i+len(x)], x)
	default:
		copy(r.f32[i:i+len(x)], x)
	}
}

// view is a matrix of rows of c numbers.
func (r *kvRows) view(c int) matrixView {
	return matrixView{f32: r.f32, f16: r.f16, bf16: r.bf16, row: c, col: 1, scale: 1}
}

// head is n numbers from element at on, as float32: where they lie, or in tmp.   tmp [n]
func (r *kvRows) head(set kernel.Set, tmp []float32, at, n int) []float32 {
	switch {
	case r.f32 != nil:
		return r.f32[at : at+n]
	case r.i8 != nil:
		r.i8.widen(set, tmp[:n], at/r.i8.dh)
	case r.f16 != nil:
		set.WidenF16(tmp[:n], r.f16[at:at+n])
	default:
		set.WidenBF16(tmp[:n], r.bf16[at:at+n])
	}
	return tmp[:n]
}

// pointer is the type of the numbers and the address of element i, not of 8 bits.
func (r *kvRows) pointer(i int) (kernel.Type, unsafe.Pointer) {
	switch {
	case r.f32 != nil:
		return kernel.F32, unsafe.Pointer(&r.f32[i])
	case r.f16 != nil:
		return kernel.F16, unsafe.Pointer(&r.f16[i])
	}
	return kernel.BF16, unsafe.Pointer(&r.bf16[i])
}

// NewKVCache makes a layer's cache. Its pages are allocated as slots reserve them.
func (d *Device) NewKVCache(slots, maxPositions int, hs device.AttentionShape) (device.KVCache, error) {
	return d.newKVCache(slots, maxPositions, hs, d.kvType, d.int8KV)
}

// NewPreciseKVCache makes a layer's cache of float32 numbers: see device.PreciseCacher.
func (d *Device) NewPreciseKVCache(slots, maxPositions int, hs device.AttentionShape) (device.KVCache, error) {
	return d.newKVCache(slots, maxPositions, hs, checkpoint.F32, false)
}

// cacheTypes are the types of KV caches by their names; int8 has another layout.
var cacheTypes = map[string]checkpoint.DType{"f32": checkpoint.F32, "f16": checkpoint.F16, "bf16": checkpoint.BF16, "int8": 0}

// NewKVCacheOf: see device.CacheTyper.
func (d *Device) NewKVCacheOf(kind string, slots, maxPositions int, hs device.AttentionShape) (device.KVCache, error) {
	t, ok := cacheTypes[kind]
	if !ok {
		return nil, fmt.Errorf("cache: want one of the types f32, f16, bf16, int8, got %q", kind)
	}
	return d.newKVCache(slots, maxPositions, hs, t, kind == "int8")
}

// CacheTypeBytes: see device.CacheTyper.
func (d *Device) CacheTypeBytes(kind string) (element, scale int, ok bool) {
	if kind == "int8" {
		return 1, scaleBytes, true
	}
	t, ok := cacheTypes[kind]
	return t.Size(), 0, ok
}

func (d *Device) newKVCache(slots, maxPositions int, hs device.AttentionShape, kind checkpoint.DType, eight bool) (device.KVCache, error) {
	if slots < 0 || maxPositions < 0 || hs.K < 0 || hs.Dh < 0 {
		return nil, fmt.Errorf("cache: want a size of 0 or more, got %d slots of %d positions, %d heads of %d", slots, maxPositions, hs.K, hs.Dh)
	}
	return &kvCache{set: d.set, kind: kind, int8: eight, size: min(pageSize, max(maxPositions, 1)), heads: hs.K, dh: hs.Dh, maxPositions: maxPositions, slots: make([][]kvPage, slots)}, nil
}

// PageSize is the number of positions of a page.
func (c *kvCache) PageSize() int { return c.size }

// PageBytes is the memory of a page.
func (c *kvCache) PageBytes() int64 {
	if c.int8 {
		return 2 * int64(c.size) * int64(c.heads) * int64(c.dh+scaleBytes)
	}
	return 2 * int64(c.kind.Size()) * int64(c.size) * int64(c.heads*c.dh)
}

// Reserve: see device.KVCache.
func (c *kvCache) Reserve(slot, positions int) error {
	if slot < 0 || slot >= len(c.slots) || positions > c.maxPositions {
		return fmt.Errorf("cache: want one of %d slots and at most %d positions, got slot %d and %d", len(c.slots), c.maxPositions, slot, positions)
	}
	for len(c.slots[slot])*c.size < positions {
		c.slots[slot] = append(c.slots[slot], c.take())
	}
	return nil
}

// take gives a free page, or a new one.
func (c *kvCache) take() kvPage {
	if last := len(c.free) - 1; last >= 0 {
		p := c.free[last]
		c.free = c.free[:last]
		*p.users = 1
		return p
	}
	users := 1
	if c.int8 {
		return kvPage{kvRows{i8: newInt8Rows(c.heads, c.size, c.dh)}, kvRows{i8: newInt8Rows(c.heads, c.size, c.dh)}, &users}
	}
	n := c.heads * max(c.size, kernel.MinKeys) * c.dh
	return kvPage{newKVRows(c.kind, n), newKVRows(c.kind, n), &users}
}

// Share: see device.PageSharer.
func (c *kvCache) Share(to, from, pages int) error {
	if to < 0 || to >= len(c.slots) || from < 0 || from >= len(c.slots) || len(c.slots[to]) > 0 || pages < 0 || pages > len(c.slots[from]) {
		return fmt.Errorf("cache: want %d pages of slot %d for slot %d without pages, of %d slots", pages, from, to, len(c.slots))
	}
	for _, p := range c.slots[from][:pages] {
		*p.users++
		c.slots[to] = append(c.slots[to], p)
	}
	return nil
}

// Release: see device.KVCache.
func (c *kvCache) Release(slot int) {
	for _, p := range c.slots[slot] {
		if *p.users--; *p.users == 0 {
			c.free = append(c.free, p)
		}
	}
	c.slots[slot] = nil
}

// Free: see device.KVCache.
func (c *kvCache) Free() {
	clear(c.slots)
	c.free = nil
}

// page is the page of a slot's position, and the position's row in it.
func (c *kvCache) page(slot, position int) (p *kvPage, row int) {
	return &c.slots[slot][position/c.size], position % c.size
}

// head is the element with which KV head k begins in a page.
func (c *kvCache) head(k int) int { return k * c.size * c.dh }

// store writes a position's key and value.   key, value [K*Dh]
func (c *kvCache) store(slot, position int, key, value []float32) {
	if c.int8 {
		c.storeInt8(slot, position, key, value)
		return
	}
	p, row := c.page(slot, position)
	for k := range c.heads {
		from, to := k*c.dh, c.head(k)+row*c.dh
		p.keys.store(c.set, to, key[from:from+c.dh])
		p.values.store(c.set, to, value[from:from+c.dh])
		if c.kind == checkpoint.F16 && (isTooLarge(p.keys.f16[to:to+c.dh]) || isTooLarge(p.values.f16[to:to+c.dh])) {
			p.values.f16[to] = float16NaN
		}
	}
}

// float16NaN marks the value of a position of which a number is too large for float16. It makes
// the logits NaN, which is an error of the sequence; the largest float16 in the number's place
// would give wrong weights without one.
const float16NaN = 0x7e00

// isTooLarge reports whether one of some float16 numbers is the largest one, which NarrowF16 puts
// in the place of larger ones, or not finite.
func isTooLarge(x []uint16) bool {
	var highest uint16
	for _, v := range x {
		highest |= v&0x7fff + (0x8000 - 0x7bff) // the largest one carries into the highest bit
	}
	return highest>>15 > 0
}
