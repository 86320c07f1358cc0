//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"slices"

	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

// placeSpans uploads the slot and position of every row and the query tiles of prefill
// attention over a cache, once for all layers of a pass. It returns the number of rows.
func (d *Device) placeSpans(spans []device.Span, kv device.KVCache) int {
	n := 0
	for _, s := range spans {
		if s.Start < 0 || s.Row < 0 || s.Len < 0 {
			d.fail(fmt.Errorf("%s: want spans of rows and positions from 0 on, got %+v", d.currentOperation.name, s))
			return 0
		}
		n = max(n, s.Row+s.Len)
	}
	rows := attentionQueryRows(d.info.Set, isInt8(kv))
	if d.recorder != nil || rows == d.placedRows && slices.Equal(spans, d.placedSpans) {
		return n
	}
	d.placedSpans, d.placedRows, d.gathered = append(d.placedSpans[:0], spans...), rows, gatheredRoPE{}
	positions := make([][2]int32, n)
	var queries [][4]int32
	for _, s := range spans {
		for i := range s.Len {
			positions[s.Row+i] = [2]int32{int32(s.Slot), int32(s.Start + i)}
		}
		for i := 0; i < s.Len; i += rows {
			queries = append(queries, [4]int32{int32(s.Row + i), int32(min(rows, s.Len-i)), int32(s.Start + i), int32(s.Slot)})
		}
	}
	// The tiles with the most positions come first, so that none of them runs last alone.
	slices.SortStableFunc(queries, func(a, b [4]int32) int { return int(b[1] + b[2] - a[1] - a[2]) })
	uploadScratch(d, scratchRowPositions, positions)
	uploadScratch(d, scratchQueryTiles, queries)
	d.queryTiles = len(queries)
	return n
}

// attentionQueryRows returns the number of queries of a tile of prefill attention over a cache of
// 16 or 8 bits.
func attentionQueryRows(set string, int8KV bool) int {
	if set == driver.SM90a && !int8KV {
		return attentionWGMMARows
	}
	return pageSize
}
