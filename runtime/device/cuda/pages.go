//go:build cuda || cudaemu

package cuda

import (
	"errors"
	"fmt"
	"runtime"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

// slabBytes bounds what a pool grows by at a time.
const slabBytes = 32 << 20

// pages is one layer's cache, keys and values in one: a table in the device's memory,
// made once, of pages that are there as far as positions came.
type pages struct {
	table                     *buffer // [sequences, most] addresses
	sequences, most, capacity int
	heads                     device.AttentionShape
	half                      checkpoint.DType
	have                      []int  // pages of each sequence
	own                       *owned // all of them
	cleanup                   runtime.Cleanup
}

// owned are pages to go back to their pool when their cache is unused.
type owned struct {
	pool  *pool
	pages []pointer
}

// pool has pages of one size, whatever layers and caches they are of. It grows by
// slabs, half of what is in use at a time.
type pool struct {
	bytes int64 // of a page
	slabs []slab
	free  []pointer
}

type slab struct {
	p pointer
	n int // pages
}

func (p *pages) Rows() int { return p.sequences * p.capacity }
func (p *pages) Cols() int { return p.heads.K * p.heads.Dh }

// Free gives the pages back to their pool. A cache's keys and values are one.
func (p *pages) Free() {
	p.cleanup.Stop()
	p.own.pool.free = append(p.own.pool.free, p.own.pages...)
	p.own.pages = nil
	clear(p.have)
	p.table.Free()
}

// Cache makes a layer's page table. A page is keys and values of 64 positions: see
// kernels/cuda/types.cuh.
func (d *Device) Cache(sequences, capacity int, hs device.AttentionShape) (device.KVCache, error) {
	if sequences < 0 || capacity < 0 || hs.K < 0 || hs.Dh < 0 || hs.Dh > maxHeadWidth || hs.Dh%2 != 0 {
		return device.KVCache{}, fmt.Errorf("cuda: cache: want an even head width up to %d, got %d sequences of %d, %d heads of %d", maxHeadWidth, sequences, capacity, hs.K, hs.Dh)
	}
	d.begin("cache")
	size := max(int64(2*page*hs.K*roundUp(hs.Dh, 8)*2), 16)
	of := d.pools[size]
	if of == nil {
		of = &pool{bytes: size}
		d.pools[size] = of
	}
	p := &pages{sequences: sequences, most: ceilDiv(capacity, page), capacity: capacity, heads: hs, half: d.typeFor(checkpoint.F32), have: make([]int, sequences), own: &owned{pool: of}}
	var err error
	if p.table, err = d.zeroed(sequences, p.most, p.most, 8); err != nil {
		return device.KVCache{}, err
	}
	p.cleanup = runtime.AddCleanup(p, func(o *owned) {
		d.mu.Lock()
		d.given = append(d.given, o)
		d.mu.Unlock()
	}, p.own)
	return device.KVCache{Keys: p, Values: p, Capacity: capacity}, nil
}

// Extend: see device.Device.
func (d *Device) Extend(kv device.KVCache, seq, positions int) error {
	p := kv.Keys.(*pages)
	if seq < 0 || seq >= p.sequences || positions > p.capacity {
		return fmt.Errorf("cuda: cache: want one of %d sequences and at most %d positions, got sequence %d and %d", p.sequences, p.capacity, seq, positions)
	}
	first, want := p.have[seq], ceilDiv(positions, page)
	if want <= first || d.err != nil {
		return d.err
	}
	d.begin("extend", operand{"cache", p.Rows(), p.Cols()})
	var entries []uint64
	var failed error
	for len(entries) < want-first {
		at, err := d.page(p.own.pool)
		if err == nil && p.heads.Dh%8 != 0 { // the heads' tails are zeros
			if err = d.driver.Clear(at, p.own.pool.bytes); err != nil {
				err = d.failed(fmt.Errorf("%v: clearing a page: %w", d.doing, err))
			}
		}
		if err != nil {
			failed = fmt.Errorf("%d positions of sequence %d: %w", positions, seq, err)
			break
		}
		p.own.pages = append(p.own.pages, at)
		entries = append(entries, uint64(at))
	}
	d.send(p.table.row(seq)+pointer(8*first), raw(entries), "pages")
	p.have[seq] += len(entries)
	if d.err != nil {
		return d.err
	}
	return failed
}

// page takes a page out of a pool.
func (d *Device) page(of *pool) (pointer, error) {
	d.collect()
	if len(of.free) == 0 {
		if err := d.grow(of); err != nil {
			return 0, err
		}
	}
	p := of.free[len(of.free)-1]
	of.free = of.free[:len(of.free)-1]
	return p, nil
}

// grow makes a slab, of one page where there is no room for more.
func (d *Device) grow(of *pool) error {
	used := 0
	for _, s := range of.slabs {
		used += s.n
	}
	n := max(1, min(used/2, int(slabBytes/of.bytes)))
	p, err := d.driver.Alloc(int64(n) * of.bytes)
	if err != nil && !errors.Is(err, driver.ErrMemory) {
		return d.failed(fmt.Errorf("%v: %d bytes for pages: %w", d.doing, int64(n)*of.bytes, err))
	}
	if err == nil {
		d.mu.Lock()
		d.used += int64(n) * of.bytes
		d.peak = max(d.peak, d.used)
		d.mu.Unlock()
	} else {
		n = 1
		if p, err = d.memory(of.bytes, "a page of the cache"); err != nil {
			return err
		}
	}
	of.slabs = append(of.slabs, slab{p, n})
	for i := range n {
		of.free = append(of.free, p+pointer(int64(i)*of.bytes))
	}
	return nil
}

// shrink frees slabs of which no page is in use.
func (d *Device) shrink() {
	for _, of := range d.pools {
		var slabs []slab
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
			d.fail(d.driver.Free(s.p))
			d.mu.Lock()
			d.used -= int64(s.n) * of.bytes
			d.mu.Unlock()
		}
		of.slabs = slabs
	}
}

// extended refuses a pass over positions whose pages are not there.
func (d *Device) extended(what string, kv device.KVCache, hs device.AttentionShape, spans []device.Span) *pages {
	p, ok := kv.Keys.(*pages)
	if !ok || p.heads.K != hs.K || p.heads.Dh != hs.Dh {
		d.fail(fmt.Errorf("%s: want a cache of %d heads of %d, got %+v", what, hs.K, hs.Dh, kv.Keys))
		return nil
	}
	for _, s := range spans {
		if s.Seq < 0 || s.Seq >= p.sequences || d.recorder == nil && s.Start+s.Len > p.have[s.Seq]*page {
			d.fail(fmt.Errorf("%s: want sequence %d extended to %d positions, got a cache of %d sequences, %v pages of %d", what, s.Seq, s.Start+s.Len, p.sequences, p.have, page))
			return nil
		}
	}
	d.keep(p.table)
	return p
}
