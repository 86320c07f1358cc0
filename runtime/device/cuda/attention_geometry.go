package cuda

import (
	"mop/runtime/device"
)

// Sizes of decode attention; see kernels/cuda/attention_decode.cu.
const (
	attentionGroup              = 8 // query heads of a KV head that one block computes
	attentionDecodeThreads      = 256
	attentionDecodeWarps        = attentionDecodeThreads / 32
	attentionDecodeWarpElements = 2048 // elements of keys that a warp reads in one round
	attentionSingleBlockRounds  = 2    // rounds of all warps up to which one block does a row alone
	attentionMaxSplits          = 16   // largest number of parts of a row
)

// scaleBytes is the size of the scale of a head's key or value in an 8-bit cache.
const scaleBytes = 4

// Sizes of prefill attention. The set sm_90a uses kernels/cuda/attention_prefill_wgmma.cuh,
// the others kernels/cuda/attention_prefill.cu.
const (
	attentionPrefillThreads = 128
	attentionWGMMARows      = 2 * pageSize // queries of a tile, and keys of a step
	attentionWGMMAThreads   = 512
)

// visionTileRows is the queries of a block of bidirectional attention, and the keys of a step;
// see kernels/cuda/attention_bidirectional.cu.
const visionTileRows = pageSize

// attentionDecodeWidth returns the width of the decode kernel for a head size of dh: the
// number of the head's columns that a block computes.
func attentionDecodeWidth(dh int) int {
	if dh <= 64 {
		return 64
	}
	return 128
}

// attentionDecodeGrid returns the grid of decode attention over rows whose positions are
// below a number: splits of the row with most positions, groups of heads times groups of
// columns, rows.
func attentionDecodeGrid(hs device.AttentionShape, rows, positions int) [3]int {
	w := attentionDecodeWidth(hs.Dh)
	splits := ceilDiv(positions, attentionDecodeWarps*attentionDecodeWarpElements/w) // rounds of a block's warps
	if splits <= attentionSingleBlockRounds {
		splits = 1
	}
	return [3]int{min(splits, attentionMaxSplits), hs.K * ceilDiv(hs.H/hs.K, attentionGroup) * ceilDiv(hs.Dh, w), rows}
}

// attentionDecodeBlocks are the blocks of decode attention that an SM holds; see its launch bounds.
const attentionDecodeBlocks = 2

// balancedAttentionBlocks returns for how many blocks a head's splits of all rows are shared, where
// the grid of attentionDecodeGrid would leave many without work: rows have fewer splits than the
// longest, and the blocks of a grid do not run at once. It is 0 where that grid serves.
func balancedAttentionBlocks(grid [3]int, sms int) int {
	slots, heads, rows := attentionDecodeBlocks*sms, grid[1], grid[2]
	if grid[0] == 1 || rows == 1 || grid[0]*heads*rows <= slots {
		return 0
	}
	// As many blocks as fill one turn of all SMs, or more turns where those are fuller by a tenth.
	best, fullest := 1, 0.0
	for turns := 1; turns <= 3; turns++ {
		blocks := min(max(1, turns*slots/heads), grid[0]*rows)
		full := float64(blocks*heads) / float64(roundUp(blocks*heads, slots))
		if full > 1.1*fullest {
			best, fullest = blocks, full
		}
	}
	return best
}

// consecutiveSlots returns the slot of the first row if every row is one token and its slot
// is the one after the slot of the row before it. Otherwise it returns -1.
func consecutiveSlots(spans []device.Span) int {
	for i, s := range spans {
		if s.Len != 1 || s.Row != i || s.Slot != spans[0].Slot+i {
			return -1
		}
	}
	if len(spans) == 0 {
		return -1
	}
	return spans[0].Slot
}

// attentionPartialElements returns the number of float32 elements that one split of a row
// writes for the split-KV reduction: for each head its columns, the largest score and the
// sum of weights, padded.
func attentionPartialElements(hs device.AttentionShape) int {
	return min(attentionGroup, hs.H/hs.K) * (attentionDecodeWidth(hs.Dh) + 4)
}

// attentionDecodeSharedBytes returns the shared memory of decode attention over a cache of 16 or
// 8 bits: for each warp the values of a round, whose memory its sums use afterwards, and the
// queries.
func attentionDecodeSharedBytes(dh int, int8KV bool) int {
	w := attentionDecodeWidth(dh)
	if int8KV {
		positions := attentionDecodeWarpElements / w
		warp := max(positions*(w+16)+2*positions*scaleBytes, attentionGroup*(w+4)*4)
		return 16 + attentionDecodeWarps*warp + attentionGroup*(roundUp(dh, 64)+8)*2
	}
	return 16 + attentionDecodeWarps*attentionDecodeWarpElements/w*(w+8)*2 + attentionGroup*(roundUp(dh, 64)+32)*2
}

// attentionPrefillWidth returns the width of the prefill kernel for a head size of dh. It is
// 0 where there is none, and the decode kernel computes row by row.
func attentionPrefillWidth(dh int) int {
	switch {
	case dh <= 64:
		return 64
	case dh <= 128:
		return 128
	}
	return 0
}

// attentionPrefillSharedBytes returns the shared memory of prefill attention: queries, and
// two pages of keys and values; or one of those, and the integers and scales of two.
func attentionPrefillSharedBytes(width int, int8KV bool) int {
	scales := 0
	if int8KV {
		scales = 2 * 2 * pageSize * scaleBytes
	}
	return 5*pageSize*width*2 + scales
}

// attentionWGMMASharedBytes returns the shared memory of prefill attention of sm_90a: two
// tiles of queries, five slots of keys or values, and barriers.
func attentionWGMMASharedBytes(width int) int { return 7*attentionWGMMARows*width*2 + 1024 }
