//go:build cuda || cudaemu

package cuda

import (
	"mop/runtime/device"
)

// SetInt8KV makes NewKVCache hold keys and values at 8 bits, with a scale for each head and
// position. It is called before the device is used.
func (d *Device) SetInt8KV() { d.int8KV = true }

// int8PageBytes returns the size of a page of an 8-bit cache: see kernels/cuda/kv_i8.cuh.
func int8PageBytes(hs device.AttentionShape) int64 {
	return int64(hs.K) * 2 * pageSize * int64(int8RowPitch(hs.Dh)+scaleBytes)
}

// int8RowPitch returns the bytes from a head's position to the next in an 8-bit cache.
func int8RowPitch(dh int) int { return roundUp(dh, 16) }

// stagedKV are what the kernels of QKV take for a cache of 16 bits: row n of a pass is position n of
// its only sequence. They write the keys and values of a pass there, which are then rounded to 8 bits.
type stagedKV struct {
	table *buffer // [1, pages] addresses in scratchStagedKV
	first pointer // of them
	rows  pointer // slot and position of every row, 0 and n: in scratchStagedRows
	n     int     // number of those
}

// gatheredRoPE says which rows of which RoPE cache are in scratchStagedRoPE.
type gatheredRoPE struct {
	from, to pointer
	n, half  int
	recorder *recorder
}

// stageKV returns the arguments of the kernels of QKV that stand for the cache, for n rows of a pass:
// the table of pages and their number, the rows' positions and the RoPE cache of the rows.
func (d *Device) stageKV(hs device.AttentionShape, n int, rope pointer) (table pointer, pages int, positions, rows pointer) {
	size := 2 * pageSize * hs.K * roundUp(hs.Dh, 8) * 2
	memory := d.scratchMemory(scratchStagedKV, ceilDiv(n, pageSize)*size, false)
	positions = d.scratchMemory(scratchStagedRows, 8*n, false)
	if d.err != nil {
		return 0, 0, 0, 0
	}
	pages = d.scratch[scratchStagedKV].cols / size
	s := d.staged[size]
	if s == nil || s.first != memory || s.table.cols < pages {
		list := make([]pointer, pages)
		for i := range list {
			list[i] = memory + pointer(i*size)
		}
		b, err := d.alloc(1, pages, pages, 8)
		if err != nil {
			d.fail(err)
			return 0, 0, 0, 0
		}
		d.uploadBuffer(b, bytesOf(list))
		if s != nil {
			s.table.Free()
		}
		s = &stagedKV{table: b, first: memory}
		d.staged[size] = s
	}
	if capacity := d.scratch[scratchStagedRows].cols / 8; s.rows != positions || s.n < capacity {
		list := make([][2]int32, capacity)
		for i := range list {
			list[i][1] = int32(i)
		}
		d.uploadBytes(positions, bytesOf(list), scratchStagedRows.String())
		s.rows, s.n = positions, capacity
	}
	d.retain(s.table)
	return s.table.p, pages, positions, d.gatherRoPE(rope, n, hs.Dh/2)
}

// gatherRoPE returns the cosines and sines of the positions of a pass's rows [n, half], in the order
// of the rows. Layers of one shape share them.
func (d *Device) gatherRoPE(rope pointer, n, half int) pointer {
	to := d.scratchMemory(scratchStagedRoPE, 8*n*half, false)
	g := gatheredRoPE{rope, to, n, half, d.recorder}
	if d.gathered != g {
		d.expect(work{bytes: 16 * float64(n*half)})
		d.launch("gather_rope", oneBlockPerRow(n), 128, 0, to, rope, d.rowPositions(n), half)
	}
	if d.gathered = g; d.err != nil {
		d.gathered = gatheredRoPE{}
	}
	return to
}

// appendInt8 rounds the staged keys and values of n rows to 8 bits, into the cache.
func (d *Device) appendInt8(cache *kvCache, staged pointer, n int) {
	hs := cache.heads
	d.expect(work{bytes: 2 * float64(n*hs.K) * float64(3*hs.Dh+scaleBytes)})
	d.launch("append_kv_i8_"+suffix(cache.dtype), [3]int{ceilDiv(2*n*hs.K, 8), 1, 1}, 256, 0, staged, cache.table.p, cache.maxPages, d.rowPositions(n), hs.K, hs.Dh, n)
}
