// Package kvcache keeps the keys and values of the positions that a model has
// seen: per layer, since layers differ in width. What flows in: the shapes, the
// number of sequences and their capacity. What flows out: a device.KV per layer
// and each sequence's length.
package kvcache

import (
	"fmt"

	"mop/runtime/config"
	"mop/runtime/device"
)

// Cache holds B sequences of up to Capacity positions each.
type Cache struct {
	Capacity int
	Len      []int            // positions filled, per sequence
	Layers   []device.KVCache // one per layer; nil buffers where the layer has no heads
	Whole    bool             // see NewWhole
	dev      device.Device
	room     []int // positions that there is memory for, per sequence
}

// New makes an empty cache on the device.
func New(dev device.Device, c *config.Config, sequences, capacity int) (*Cache, error) {
	if sequences < 1 || capacity < 1 {
		return nil, fmt.Errorf("cache: want at least 1 sequence of 1 position, got %d of %d", sequences, capacity)
	}
	k := &Cache{Capacity: capacity, Len: make([]int, sequences), Layers: make([]device.KVCache, len(c.Layers)), dev: dev, room: make([]int, sequences)}
	for l, s := range c.Layers {
		k.Layers[l].Capacity = capacity
		if s.Heads == 0 {
			continue
		}
		var err error
		if k.Layers[l], err = dev.Cache(sequences, capacity, device.AttentionShape{H: s.Heads, K: s.KVHeads, Dh: s.HeadDim}); err != nil {
			return nil, fmt.Errorf("cache: layer %d: %w", l, err)
		}
	}
	return k, nil
}

// NewWhole makes a cache of one sequence for passes that begin at position 0 and
// are never gone on with, as scoring wants them: Reset goes before each. A layer
// is done with its keys and values before the next begins, so that layers of one
// shape share them: the memory is one layer's.
func NewWhole(dev device.Device, c *config.Config, capacity int) (*Cache, error) {
	all := c.Clone()
	shared := map[device.AttentionShape]device.KVCache{}
	k := &Cache{Capacity: capacity, Len: make([]int, 1), Layers: make([]device.KVCache, len(c.Layers)), Whole: true, dev: dev, room: make([]int, 1)}
	for l, s := range c.Layers {
		shape := device.AttentionShape{H: s.Heads, K: s.KVHeads, Dh: s.HeadDim}
		if _, ok := shared[shape]; !ok {
			all.Layers = all.Layers[:1]
			all.Layers[0] = s
			one, err := New(dev, all, 1, capacity)
			if err != nil {
				return nil, err
			}
			shared[shape] = one.Layers[0]
		}
		k.Layers[l] = shared[shape]
	}
	return k, nil
}

// Extend makes room for a sequence's positions up to n, where the device makes it as
// they come. What there was no room for can be asked for again.
func (k *Cache) Extend(seq, n int) error {
	if n <= k.room[seq] {
		return nil
	}
	for l, kv := range k.Layers {
		if kv.Keys == nil {
			continue
		}
		if err := k.dev.Extend(kv, seq, n); err != nil {
			return fmt.Errorf("cache: layer %d: %w", l, err)
		}
	}
	k.room[seq] = n
	return nil
}

// Reset forgets all positions; the memory stays.
func (k *Cache) Reset() { clear(k.Len) }

// Bytes is the memory that the cache of a model takes, float32.
func Bytes(c *config.Config, sequences, capacity int) int64 {
	var n int64
	for _, s := range c.Layers {
		n += 2 * 4 * int64(sequences) * int64(capacity) * int64(s.KVHeads) * int64(s.HeadDim)
	}
	return n
}
