package cuda

import (
	"math"

	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

// Sizes that the kernels are written for; see kernels/cuda.
const (
	gemvThreads                 = 256
	gemvMaxRows                 = 8   // rows of x that one pass over the weights takes
	gemvSegmentRows             = 128 // rows of W whose parts are held
	gemvWarps                   = 8
	pipelineThreads             = gemvThreads + 64
	pipelineStageBytes          = 16 * (1024 + 64) // bytes of a stage of weights, see kernels/cuda/pipeline.cuh
	pipelinePartialBytes        = gemvWarps * gemvSegmentRows * 4
	pageSize                    = 64 // positions a cache page holds
	attentionGroup              = 8  // query heads that a block of decode attention takes
	attentionDecodeThreads      = 256
	attentionDecodeWarpElements = 2048 // elements of keys that a warp of it takes at a time
	gemmStages, gemmTileK       = 3, 64
	maxHeadSize                 = 1024
	sampleThreads               = 512
	sampleSharedBytes           = 48 << 10
)

// deviceLimits are what a choice of kernel depends on besides the shapes.
type deviceLimits struct {
	sms    int // streaming multiprocessors
	shared int // bytes of shared memory that a block may have
}

// roundUp is n rounded up to a multiple of m.
func roundUp(n, m int) int { return (n + m - 1) / m * m }

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// rowPitch is the distance of rows of n 16-bit elements, in elements: 128 bytes'
// worth.
func rowPitch(n int) int { return max(roundUp(n, 64), 64) }

// gemvSharedBytes is the shared memory of a decode product over n rows of x, bytes:
// x [n, ld+32] 16-bit and the parts [8, 128, n] float32.
func gemvSharedBytes(ld, n int) int {
	return n*(ld+32)*2 + gemvWarps*gemvSegmentRows*n*4
}

// gemvRowsPerPass is how many of n rows of x one pass over the weights takes: as many
// as let two blocks share an SM, or one row where none do. 0 = even one does not
// fit.
func gemvRowsPerPass(ld, n int, l deviceLimits) int {
	n = min(n, gemvMaxRows)
	for ; n > 1; n-- {
		if gemvSharedBytes(ld, n) <= min(l.shared, 112<<10) {
			return n
		}
	}
	if gemvSharedBytes(ld, 1) > l.shared {
		return 0
	}
	return 1
}

// gemvGrid cuts pairs of rows over the SMs: two blocks each, none with less
// than a tile of 16 rows.
func gemvGrid(pairs int, l deviceLimits) int { return max(1, min(2*l.sms, ceilDiv(pairs, 8))) }

// pipelineSharedBytes is the shared memory of a decode product of sm_90a, bytes: x as before,
// parts whatever n, stages of weights with two barriers each, and one barrier.
func pipelineSharedBytes(ld, n, stages int) int {
	return n*(ld+32)*2 + pipelinePartialBytes + stages*(pipelineStageBytes+16) + 8
}

// pipelineStages is how many stages it has for n rows of x: such that the next product's
// block is on the same SM, or one of attention, where that leaves two; else what a
// block may have. 0 = two do not fit.
func pipelineStages(ld, n int, l deviceLimits) int {
	const least, most, alone, half = 2, 6, 8, 104 << 10
	one := pipelineSharedBytes(ld, n, 1) - pipelineSharedBytes(ld, n, 0)
	if s := (min(half, l.shared) - pipelineSharedBytes(ld, n, 0)) / one; s >= least {
		return min(s, most)
	}
	if s := (l.shared - pipelineSharedBytes(ld, n, 0)) / one; s >= least {
		return min(s, alone)
	}
	return 0
}

// pipelineRowsPerPass is how many of n rows of x one pass takes: passes are few, and equal. 0 = even
// one row does not fit.
func pipelineRowsPerPass(ld, n int, l deviceLimits) int {
	for passes := ceilDiv(n, gemvMaxRows); ; passes++ {
		rows := ceilDiv(n, passes)
		if pipelineStages(ld, rows, l) > 0 {
			return rows
		}
		if rows == 1 {
			return 0
		}
	}
}

// pipelineGrid is a block an SM, none with less than a tile of 16 rows.
func pipelineGrid(pairs int, l deviceLimits) int { return max(1, min(l.sms, ceilDiv(pairs, 8))) }

// gemvLaunch is how a set's kernel multiplies some of n rows of x by so many pairs of rows
// of W, of pitch ld.
type gemvLaunch struct {
	variant string // in the kernel's name
	rows    int    // of x; 0 = even one does not fit
	threads int
	grid    int
	shared  int // bytes, of one row where none fits
	stages  int // of weights, the kernel's last argument; 0: it has none
}

func chooseGEMV(set string, pairs, ld, n int, l deviceLimits) gemvLaunch {
	if set == driver.SM90a {
		rows := pipelineRowsPerPass(ld, n, l)
		stages := pipelineStages(ld, max(rows, 1), l)
		return gemvLaunch{"pipeline_", rows, pipelineThreads, pipelineGrid(pairs, l), pipelineSharedBytes(ld, max(rows, 1), max(stages, 2)), stages}
	}
	rows := gemvRowsPerPass(ld, n, l)
	return gemvLaunch{"", rows, gemvThreads, gemvGrid(pairs, l), gemvSharedBytes(ld, max(rows, 1)), 0}
}

// gemmTile is the shape of a prefill product's blocks.
type gemmTile struct {
	name       string
	rows, cols int // of x and of W
	threads    int
	stages     int // stages
	perSM      int // blocks that fit an SM
	cost       int // time of a block where it is one of several on an SM
	cluster    int // blocks that share rows of x, of a tile of sm_90a; 0: none of those
}

// The costs are cycles for an element of K, times ten: a large tile is bound by its
// products, 1024 a cycle; a small one also, less well; the others by what they copy,
// 64 bytes a cycle.
var (
	tile128x128 = gemmTile{"128x128", 128, 128, 256, gemmStages, 2, 160, 0}
	tile64x64   = gemmTile{"64x64", 64, 64, 128, gemmStages, 4, 52, 0}
	tile64x32   = gemmTile{"64x32", 64, 32, 128, 8, 2, 30, 0}
	tile16x32   = gemmTile{"16x32", 16, 32, 64, 12, 3, 15, 0}
	mmaTiles    = []gemmTile{tile128x128, tile64x64, tile64x32, tile16x32}

	// Those of sm_90a: two warpgroups by their products, 2048 a cycle; the others by
	// what they copy.
	wgmmaTiles = []gemmTile{
		{"wgmma256", 256, 128, 384, 4, 1, 160, 2},
		{"wgmma128", 128, 128, 384, 6, 1, 85, 2},
		{"wgmma64", 64, 64, 160, 6, 2, 42, 1},
		{"wgmma32", 32, 64, 160, 8, 2, 31, 1},
		{"wgmma16", 16, 64, 160, 9, 2, 26, 1},
	}
)

// sharedBytes is the bytes of a tile's copies under way; of sm_90a also of barriers and of what
// each 64 rows of W need to exchange results: twice 32 tokens' of 128 bytes, and 24 for
// each row of x.
func (t gemmTile) sharedBytes() int {
	n := t.stages * (t.rows + t.cols) * gemmTileK * 2
	if t.cluster > 0 {
		exchange := t.cols / 64 * (2*32*128 + 24*t.rows)
		n += roundUp(2*8*t.stages+exchange, 1024) // a multiple, so that swizzled rows begin at one
	}
	return n
}

// grid is the tiles of a product of n rows by out rows: of W, of x.
func (t gemmTile) grid(n, out int) [3]int { return [3]int{ceilDiv(out, t.cols), ceilDiv(n, t.rows), 1} }

// persistentGrid is the grid of sm_90a, clusters that make one tile after another.
func (t gemmTile) persistentGrid(n, out int, l deviceLimits) [3]int {
	g := t.grid(n, out)
	clusters := min(ceilDiv(g[0], t.cluster)*g[1], max(1, l.sms*t.perSM/t.cluster))
	return [3]int{clusters * t.cluster, 1, 1}
}

// chooseMMATile chooses the tile of a product of n rows by out rows; boxedTile that of
// sm_90a. All of a list add in the same order, so that the choice never shows in the bits.
func chooseMMATile(n, out int, l deviceLimits) gemmTile   { return fastestTile(mmaTiles, n, out, l) }
func chooseWGMMATile(n, out int, l deviceLimits) gemmTile { return fastestTile(wgmmaTiles, n, out, l) }

// fastestTile goes by the time of the SM with most blocks. A wave of blocks takes two cycles
// an element of K at least: 16 of them are one product, which waits for the one before.
func fastestTile(list []gemmTile, n, out int, l deviceLimits) gemmTile {
	const chain = 20
	best, least := gemmTile{}, math.MaxInt
	for _, t := range list {
		g := t.grid(n, out)
		blocks := g[0] * g[1]
		if time := max(ceilDiv(blocks, l.sms)*t.cost, ceilDiv(blocks, l.sms*t.perSM)*chain); time < least {
			best, least = t, time
		}
	}
	return best
}

// attentionDecodeWidth is the width of the decode attention kernel that takes heads of width dh:
// how many of their columns a block sums.
func attentionDecodeWidth(dh int) int {
	if dh <= 64 {
		return 64
	}
	return 128
}

// attentionDecodeGrid is the grid of decode attention over rows at positions below a number of
// them: parts of the row that has most, units of heads and columns, rows.
func attentionDecodeGrid(hs device.AttentionShape, rows, positions int) [3]int {
	const alone, most = 2, 16 // see kernels/cuda/attention_decode.cu
	w := attentionDecodeWidth(hs.Dh)
	parts := ceilDiv(positions, 8*attentionDecodeWarpElements/w) // turns of a block's warps
	if parts <= alone {
		parts = 1
	}
	return [3]int{min(parts, most), hs.K * ceilDiv(hs.H/hs.K, attentionGroup) * ceilDiv(hs.Dh, w), rows}
}

// consecutiveSlots is the sequence of the first row where each row is of the one after the row
// before's, and else -1.
func consecutiveSlots(spans []device.Span) int {
	for i, s := range spans {
		if s.Len != 1 || s.Row != i || s.Seq != spans[0].Seq+i {
			return -1
		}
	}
	if len(spans) == 0 {
		return -1
	}
	return spans[0].Seq
}

// attentionPartialElements is what a part of a row leaves of its heads, elements: see
// kernels/cuda/attention_decode.cu.
func attentionPartialElements(hs device.AttentionShape) int {
	return min(attentionGroup, hs.H/hs.K) * (attentionDecodeWidth(hs.Dh) + 4)
}

// attentionDecodeSharedBytes is the shared memory of decode attention, bytes: for each warp its values,
// in whose place its sums come; queries.
func attentionDecodeSharedBytes(dh int) int {
	w := attentionDecodeWidth(dh)
	return 16 + 8*attentionDecodeWarpElements/w*(w+8)*2 + attentionGroup*(roundUp(dh, 64)+32)*2
}

// attentionPrefillWidth is the width of the prefill attention kernel that takes heads of
// width dh, 0 where none does and decode's is used row by row.
func attentionPrefillWidth(dh int) int {
	switch {
	case dh <= 64:
		return 64
	case dh <= 128:
		return 128
	}
	return 0
}

// attentionPrefillSharedBytes is its shared memory, bytes: queries, two pages of keys and values.
func attentionPrefillSharedBytes(width int) int { return 5 * pageSize * width * 2 }

// Prefill attention of sm_90a: tiles of queries, and steps of keys, are of two pages;
// shared memory has the queries of two, five times as many keys or values, and barriers.
const (
	attentionWGMMARows    = 2 * pageSize
	attentionWGMMAThreads = 512
)

func attentionWGMMASharedBytes(width int) int { return 7*attentionWGMMARows*width*2 + 1024 }
