package cpu

import (
	"fmt"

	"mop/runtime/device"
)

// pageSize is the number of positions of a page: a chunk of decode attention, and some
// blocks of prefill attention, so that neither meets the end of a page on its way.
const pageSize = attentionChunk

// kvCache is one layer's cache, float32.
type kvCache struct {
	size         int // positions of a page
	cols         int // K*Dh
	maxPositions int
	slots        [][]kvPage // the pages of each slot, in the order of positions
	free         []kvPage
}

// kvPage is the keys and values of some consecutive positions.
type kvPage struct{ keys, values []float32 } // [size, K*Dh]

// NewKVCache makes a layer's cache. Its pages are allocated as slots reserve them.
func (d *Device) NewKVCache(slots, maxPositions int, hs device.AttentionShape) (device.KVCache, error) {
	if slots < 0 || maxPositions < 0 || hs.K < 0 || hs.Dh < 0 {
		return nil, fmt.Errorf("cache: want a size of 0 or more, got %d slots of %d positions, %d heads of %d", slots, maxPositions, hs.K, hs.Dh)
	}
	return &kvCache{size: min(pageSize, max(maxPositions, 1)), cols: hs.K * hs.Dh, maxPositions: maxPositions, slots: make([][]kvPage, slots)}, nil
}

// PageSize is the number of positions of a page.
func (c *kvCache) PageSize() int { return c.size }

// PageBytes is the memory of a page.
func (c *kvCache) PageBytes() int64 { return 2 * 4 * int64(c.size) * int64(c.cols) }

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
		return p
	}
	n := c.size * c.cols
	both := make([]float32, 2*n)
	return kvPage{both[:n:n], both[n:]}
}

// Release: see device.KVCache.
func (c *kvCache) Release(slot int) {
	c.free = append(c.free, c.slots[slot]...)
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

// at is where a position's key and value lie.   [K*Dh]
func (c *kvCache) at(slot, position int) (key, value []float32) {
	p, row := c.page(slot, position)
	return p.keys[row*c.cols : (row+1)*c.cols], p.values[row*c.cols : (row+1)*c.cols]
}
