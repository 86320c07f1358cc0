// Package kvcache keeps the keys and values of the positions that a model has seen. A
// cache is a pool of pages: sequences are allocated and freed one by one, and take pages
// as they grow. A page holds a fixed number of positions of one sequence in all layers;
// each layer stores its part of a page as wide as its own KV heads.
package kvcache

import (
	"errors"
	"fmt"

	"mop/runtime/config"
	"mop/runtime/device"
)

// ErrSlots is returned where every slot of a cache has a sequence.
var ErrSlots = errors.New("all slots of the cache are in use")

// Options of a cache.
type Options struct {
	Slots        int   // sequences that it can hold at a time
	MaxPositions int   // of a sequence
	MemoryLimit  int64 // bytes of all pages in use; 0 = no limit
	FullSlots    int   // slots that have room for MaxPositions at a time; 0 = all
}

// Cache holds up to Slots sequences of up to MaxPositions positions each. It is used by
// one goroutine at a time, and not while its device is used by another one.
type Cache struct {
	MaxPositions int
	Layers       []device.KVCache // one per layer; nil where the layer has no attention
	WholePasses  bool             // see NewWhole

	slots     []slot
	pageSize  int   // positions of a page; 0 where no layer has attention
	pageBytes int64 // of all layers
	pages     int   // that may be in use at a time
	used      int
}

// slot is one sequence.
type slot struct {
	allocated bool
	length    int     // positions filled
	pages     []*page // that it holds
}

// page counts the slots that hold a page.
type page struct{ users int }

// New makes a cache without sequences. It takes memory when positions are reserved.
func New(dev device.Device, c *config.Config, o Options) (*Cache, error) {
	if o.Slots < 1 || o.MaxPositions < 1 || o.MemoryLimit < 0 {
		return nil, fmt.Errorf("cache: want at least 1 slot of 1 position, and a memory limit of 0 or more, got %+v", o)
	}
	k := &Cache{MaxPositions: o.MaxPositions, Layers: make([]device.KVCache, len(c.Layers)), slots: make([]slot, o.Slots)}
	for l, s := range c.Layers {
		if s.Heads == 0 {
			continue
		}
		kv, err := dev.NewKVCache(o.Slots, o.MaxPositions, attentionShape(s))
		if err != nil {
			k.Close()
			return nil, fmt.Errorf("cache: layer %d: %w", l, err)
		}
		k.Layers[l] = kv
		k.pageSize, k.pageBytes = kv.PageSize(), k.pageBytes+kv.PageBytes()
	}
	if err := k.limit(o); err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

// NewSequences makes a cache in which a fixed number of sequences has been started, in
// slots 0 to n-1.
func NewSequences(dev device.Device, c *config.Config, n, maxPositions int) (*Cache, error) {
	k, err := New(dev, c, Options{Slots: n, MaxPositions: maxPositions})
	if err != nil {
		return nil, err
	}
	if _, err := k.AllocN(n); err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

// limit sets how many pages may be in use: those of all slots, or what the memory allows.
func (k *Cache) limit(o Options) error {
	full := o.Slots
	if o.FullSlots > 0 {
		full = min(full, o.FullSlots)
	}
	k.pages = full * k.PagesFor(o.MaxPositions)
	if o.MemoryLimit == 0 || k.pages == 0 {
		return nil
	}
	fit := o.MemoryLimit / k.pageBytes
	if fit == 0 {
		return fmt.Errorf("cache: %w: want %d bytes for a page of %d positions, got a limit of %d", device.ErrMemory, k.pageBytes, k.pageSize, o.MemoryLimit)
	}
	k.pages = int(min(int64(k.pages), fit))
	return nil
}

// NewWhole makes a cache for passes that begin at position 0 and are not continued, as
// scoring has them. It has one sequence, slot 0; Reset goes before each pass. A layer has
// read its keys and values before the next layer begins, so that layers of one shape
// share them: the memory is that of one layer of each shape.
func NewWhole(dev device.Device, c *config.Config, maxPositions int) (*Cache, error) {
	k := &Cache{MaxPositions: maxPositions, Layers: make([]device.KVCache, len(c.Layers)), WholePasses: true, slots: []slot{{allocated: true}}}
	if maxPositions < 1 {
		return nil, fmt.Errorf("cache: want at least 1 position, got %d", maxPositions)
	}
	shared := map[device.AttentionShape]device.KVCache{}
	for l, s := range c.Layers {
		if s.Heads == 0 {
			continue
		}
		shape := attentionShape(s)
		kv := shared[shape]
		if kv == nil {
			var err error
			if kv, err = dev.NewKVCache(1, maxPositions, shape); err != nil {
				k.Close()
				return nil, fmt.Errorf("cache: layer %d: %w", l, err)
			}
			shared[shape] = kv
			k.pageSize, k.pageBytes = kv.PageSize(), k.pageBytes+kv.PageBytes()
		}
		k.Layers[l] = kv
	}
	k.pages = k.PagesFor(maxPositions)
	return k, nil
}

func attentionShape(s config.LayerShape) device.AttentionShape {
	return device.AttentionShape{H: s.Heads, K: s.KVHeads, Dh: s.HeadDim}
}

// Slots is how many sequences the cache can hold.
func (k *Cache) Slots() int { return len(k.slots) }

// Alloc starts an empty sequence in the lowest free slot. Where there is none it returns
// ErrSlots.
func (k *Cache) Alloc() (slot int, err error) {
	for i := range k.slots {
		if s := &k.slots[i]; !s.allocated {
			s.allocated, s.length = true, 0
			return i, nil
		}
	}
	return 0, fmt.Errorf("cache of %d slots: %w", len(k.slots), ErrSlots)
}

// AllocN starts n empty sequences, in slots 0 to n-1 where none is in use. Where not all
// of them fit it starts none.
func (k *Cache) AllocN(n int) (slots []int, err error) {
	for range n {
		s, err := k.Alloc()
		if err != nil {
			for _, s := range slots {
				k.Free(s)
			}
			return nil, err
		}
		slots = append(slots, s)
	}
	return slots, nil
}

// Free ends a sequence and gives its pages back to the pool. A slot that has no sequence
// is left as it is.
func (k *Cache) Free(slot int) {
	if !k.Allocated(slot) {
		return
	}
	k.release(slot)
	k.slots[slot].allocated = false
}

// release gives a slot's pages back and empties its sequence.
func (k *Cache) release(slot int) {
	for _, kv := range k.Layers {
		if kv != nil {
			kv.Release(slot)
		}
	}
	s := &k.slots[slot]
	for _, p := range s.pages {
		if p.users--; p.users == 0 {
			k.used--
		}
	}
	s.pages, s.length = nil, 0
}

// Reset frees all sequences. In a cache for whole passes, slot 0 stays, without positions.
func (k *Cache) Reset() {
	if k.WholePasses {
		k.slots[0].length = 0 // its pages serve the next pass
		return
	}
	for i := range k.slots {
		k.Free(i)
	}
}

// Allocated reports whether a slot has a sequence.
func (k *Cache) Allocated(slot int) bool {
	return slot >= 0 && slot < len(k.slots) && k.slots[slot].allocated
}

// Len is the number of positions of a slot's sequence, 0 where it has none.
func (k *Cache) Len(slot int) int {
	if !k.Allocated(slot) {
		return 0
	}
	return k.slots[slot].length
}

// Reserve makes sure that a sequence has pages for its first positions. Where the pool has
// no more it returns device.ErrMemory; what the sequence has stays, and it can be asked
// again after another sequence was freed.
func (k *Cache) Reserve(slot, positions int) error {
	if !k.Allocated(slot) {
		return fmt.Errorf("cache: slot %d: want one with a sequence, of %d", slot, len(k.slots))
	}
	if positions > k.MaxPositions {
		return fmt.Errorf("cache: slot %d: want at most %d positions, got %d", slot, k.MaxPositions, positions)
	}
	s := &k.slots[slot]
	want := k.PagesFor(positions)
	more := want - len(s.pages)
	if more <= 0 {
		return nil
	}
	if free := k.pages - k.used; more > free {
		return fmt.Errorf("cache: %w: %d positions of slot %d: want %d more pages, have %d free of %d", device.ErrMemory, positions, slot, more, free, k.pages)
	}
	for l, kv := range k.Layers {
		if kv == nil {
			continue
		}
		if err := kv.Reserve(slot, positions); err != nil {
			return fmt.Errorf("cache: layer %d: %w", l, err)
		}
	}
	k.used += more
	for range more {
		s.pages = append(s.pages, &page{users: 1})
	}
	return nil
}

// Append counts n more positions of a sequence as filled; they must be reserved.
func (k *Cache) Append(slot, n int) { k.slots[slot].length += n }

// Truncate keeps the first positions of a sequence. Its pages stay, so that the sequence can
// be continued in another way.
func (k *Cache) Truncate(slot, positions int) error {
	if n := k.Len(slot); positions < 0 || positions > n {
		return fmt.Errorf("cache: slot %d: want 0 to %d positions to keep, got %d", slot, n, positions)
	}
	if k.Allocated(slot) {
		k.slots[slot].length = positions
	}
	return nil
}

// PageSize is the number of positions of a page, 0 where no layer has attention.
func (k *Cache) PageSize() int { return k.pageSize }

// PageBytes is the memory of a page in all layers.
func (k *Cache) PageBytes() int64 { return k.pageBytes }

// PagesFor is the number of pages that a sequence of so many positions needs.
func (k *Cache) PagesFor(positions int) int {
	if k.pageSize == 0 {
		return 0
	}
	return (positions + k.pageSize - 1) / k.pageSize
}

// Pages is the number of pages that sequences hold, and of those that they may still
// reserve. Memory for the latter was not necessarily taken from the device yet.
func (k *Cache) Pages() (used, free int) { return k.used, k.pages - k.used }

// Close gives all memory back to the device.
func (k *Cache) Close() {
	for _, kv := range k.Layers {
		if kv != nil {
			kv.Free()
		}
	}
	clear(k.Layers)
	k.slots, k.pages, k.used = nil, 0, 0
}
