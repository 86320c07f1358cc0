package kvcache

import (
	"fmt"

	"mop/runtime/device"
)

// CanShare reports whether sequences can have pages in common on the cache's device.
func (k *Cache) CanShare() bool {
	for _, kv := range k.Layers {
		if _, ok := kv.(device.PageSharer); kv != nil && !ok {
			return false
		}
	}
	return k.pageSize > 0
}

// Share begins a sequence without positions with the first positions of another one, in whole
// pages that both have from then on. A page is free when no sequence has it any more.
func (k *Cache) Share(to, from, positions int) error {
	switch {
	case !k.CanShare():
		return fmt.Errorf("cache: the device cannot share pages")
	case !k.Allocated(to) || !k.Allocated(from) || len(k.slots[to].pages) > 0:
		return fmt.Errorf("cache: want a sequence without pages in slot %d and one in slot %d", to, from)
	case positions < 0 || positions%k.pageSize != 0 || positions > k.slots[from].length:
		return fmt.Errorf("cache: want whole pages of %d positions of a sequence of %d, got %d", k.pageSize, k.slots[from].length, positions)
	}
	n := positions / k.pageSize
	for l, kv := range k.Layers {
		if kv == nil {
			continue
		}
		if err := kv.(device.PageSharer).Share(to, from, n); err != nil {
			return fmt.Errorf("cache: layer %d: %w", l, err)
		}
	}
	s := &k.slots[to]
	for _, p := range k.slots[from].pages[:n] {
		p.users++
		s.pages = append(s.pages, p)
	}
	s.length = positions
	return nil
}

// PagesOf is the number of pages that some slots hold, those that they share counted once.
func (k *Cache) PagesOf(slots []int) int {
	seen := map[*page]bool{}
	for _, s := range slots {
		for _, p := range k.slots[s].pages {
			seen[p] = true
		}
	}
	return len(seen)
}
