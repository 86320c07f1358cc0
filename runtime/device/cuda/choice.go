package cuda

import (
	"math"

	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

// Sizes that the kernels are written for; see kernels/cuda.
const (
	streamThreads = 256
	streamRows    = 8   // rows of x that one pass over the weights takes
	streamSegment = 128 // rows of W whose parts are held
	streamWarps   = 8
	ringThreads   = streamThreads + 64
	ringStage     = 16 * (1024 + 64) // bytes of a stage of weights, see kernels/cuda/pipeline.cuh
	ringParts     = streamWarps * streamSegment * 4
	page          = 64 // positions a cache page holds
	group         = 8  // query heads that a block of decode attention takes
	attendThreads = 256
	attendStep    = 2048 // elements of keys that a warp of it takes at a time
	stages, depth = 3, 64
	maxHeadWidth  = 1024
	sampleThreads = 512
	sampleShared  = 48 << 10
)

// limits are what a choice of kernel depends on besides the shapes.
type limits struct {
	sms    int // streaming multiprocessors
	shared int // bytes of shared memory that a block may have
}

// roundUp is n rounded up to a multiple of m.
func roundUp(n, m int) int { return (n + m - 1) / m * m }

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// pitch is the distance of rows of n 16-bit elements, in elements: 128 bytes'
// worth.
func pitch(n int) int { return max(roundUp(n, 64), 64) }

// streamShared is the shared memory of a decode product over n rows of x, bytes:
// x [n, ld+32] 16-bit and the parts [8, 128, n] float32.
func streamShared(ld, n int) int {
	return n*(ld+32)*2 + streamWarps*streamSegment*n*4
}

// streamPass is how many of n rows of x one pass over the weights takes: as many
// as let two blocks share an SM, or one row where none do. 0 = even one does not
// fit.
func streamPass(ld, n int, l limits) int {
	n = min(n, streamRows)
	for ; n > 1; n-- {
		if streamShared(ld, n) <= min(l.shared, 112<<10) {
			return n
		}
	}
	if streamShared(ld, 1) > l.shared {
		return 0
	}
	return 1
}

// streamGrid cuts pairs of rows over the SMs: two blocks each, none with less
// than a tile of 16 rows.
func streamGrid(pairs int, l limits) int { return max(1, min(2*l.sms, ceilDiv(pairs, 8))) }

// ringShared is the shared memory of a decode product of sm_90a, bytes: x as before,
// parts whatever n, stages of weights with two barriers each, and one barrier.
func ringShared(ld, n, stages int) int {
	return n*(ld+32)*2 + ringParts + stages*(ringStage+16) + 8
}

// ringStages is how many stages it has for n rows of x: such that the next product's
// block is on the same SM, or one of attention, where that leaves two; else what a
// block may have. 0 = two do not fit.
func ringStages(ld, n int, l limits) int {
	const least, most, alone, half = 2, 6, 8, 104 << 10
	one := ringShared(ld, n, 1) - ringShared(ld, n, 0)
	if s := (min(half, l.shared) - ringShared(ld, n, 0)) / one; s >= least {
		return min(s, most)
	}
	if s := (l.shared - ringShared(ld, n, 0)) / one; s >= least {
		return min(s, alone)
	}
	return 0
}

// ringPass is how many of n rows of x one pass takes: passes are few, and equal. 0 = even
// one row does not fit.
func ringPass(ld, n int, l limits) int {
	for passes := ceilDiv(n, streamRows); ; passes++ {
		rows := ceilDiv(n, passes)
		if ringStages(ld, rows, l) > 0 {
			return rows
		}
		if rows == 1 {
			return 0
		}
	}
}

// ringGrid is a block an SM, none with less than a tile of 16 rows.
func ringGrid(pairs int, l limits) int { return max(1, min(l.sms, ceilDiv(pairs, 8))) }

// decodePass is how a set's kernel multiplies some of n rows of x by so many pairs of rows
// of W, of pitch ld.
type decodePass struct {
	form    string // in the kernel's name
	rows    int    // of x; 0 = even one does not fit
	threads int
	grid    int
	shared  int // bytes, of one row where none fits
	stages  int // of weights, the kernel's last argument; 0: it has none
}

func decodeBy(set string, pairs, ld, n int, l limits) decodePass {
	if set == driver.SM90a {
		rows := ringPass(ld, n, l)
		stages := ringStages(ld, max(rows, 1), l)
		return decodePass{"pipeline_", rows, ringThreads, ringGrid(pairs, l), ringShared(ld, max(rows, 1), max(stages, 2)), stages}
	}
	rows := streamPass(ld, n, l)
	return decodePass{"", rows, streamThreads, streamGrid(pairs, l), streamShared(ld, max(rows, 1)), 0}
}

// tile is the shape of a prefill product's blocks.
type tile struct {
	name       string
	rows, cols int // of x and of W
	threads    int
	ahead      int // stages
	perSM      int // blocks that fit an SM
	cost       int // time of a block where it is one of several on an SM
	cluster    int // blocks that share rows of x, of a tile of sm_90a; 0: none of those
}

// The costs are cycles for an element of K, times ten: a large tile is bound by its
// products, 1024 a cycle; a small one also, less well; the others by what they copy,
// 64 bytes a cycle.
var (
	large = tile{"128x128", 128, 128, 256, stages, 2, 160, 0}
	small = tile{"64x64", 64, 64, 128, stages, 4, 52, 0}
	slim  = tile{"64x32", 64, 32, 128, 8, 2, 30, 0}
	thin  = tile{"16x32", 16, 32, 64, 12, 3, 15, 0}
	tiles = []tile{large, small, slim, thin}

	// Those of sm_90a: two warpgroups by their products, 2048 a cycle; the others by
	// what they copy.
	boxedTiles = []tile{
		{"wgmma256", 256, 128, 384, 4, 1, 160, 2},
		{"wgmma128", 128, 128, 384, 6, 1, 85, 2},
		{"wgmma64", 64, 64, 160, 6, 2, 42, 1},
		{"wgmma32", 32, 64, 160, 8, 2, 31, 1},
		{"wgmma16", 16, 64, 160, 9, 2, 26, 1},
	}
)

// shared is the bytes of a tile's copies under way; of sm_90a also of barriers and of what
// each 64 rows of W need to exchange results: twice 32 tokens' of 128 bytes, and 24 for
// each row of x.
func (t tile) shared() int {
	n := t.ahead * (t.rows + t.cols) * depth * 2
	if t.cluster > 0 {
		exchange := t.cols / 64 * (2*32*128 + 24*t.rows)
		n += roundUp(2*8*t.ahead+exchange, 1024) // a multiple, so that swizzled rows begin at one
	}
	return n
}

// grid is the tiles of a product of n rows by out rows: of W, of x.
func (t tile) grid(n, out int) [3]int { return [3]int{ceilDiv(out, t.cols), ceilDiv(n, t.rows), 1} }

// stay is the grid of sm_90a, clusters that make one tile after another.
func (t tile) stay(n, out int, l limits) [3]int {
	g := t.grid(n, out)
	clusters := min(ceilDiv(g[0], t.cluster)*g[1], max(1, l.sms*t.perSM/t.cluster))
	return [3]int{clusters * t.cluster, 1, 1}
}

// productTile chooses the tile of a product of n rows by out rows; boxedTile that of
// sm_90a. All of a list add in the same order, so that the choice never shows in the bits.
func productTile(n, out int, l limits) tile { return fastest(tiles, n, out, l) }
func boxedTile(n, out int, l limits) tile   { return fastest(boxedTiles, n, out, l) }

// fastest goes by the time of the SM with most blocks. A wave of blocks takes two cycles
// an element of K at least: 16 of them are one product, which waits for the one before.
func fastest(list []tile, n, out int, l limits) tile {
	const chain = 20
	best, least := tile{}, math.MaxInt
	for _, t := range list {
		g := t.grid(n, out)
		blocks := g[0] * g[1]
		if time := max(ceilDiv(blocks, l.sms)*t.cost, ceilDiv(blocks, l.sms*t.perSM)*chain); time < least {
			best, least = t, time
		}
	}
	return best
}

// attendWidth is the width of the decode attention kernel that takes heads of width dh:
// how many of their columns a block sums.
func attendWidth(dh int) int {
	if dh <= 64 {
		return 64
	}
	return 128
}

// attendGrid is the grid of decode attention over rows at positions below a number of
// them: parts of the row that has most, units of heads and columns, rows.
func attendGrid(hs device.AttentionShape, rows, positions int) [3]int {
	const alone, most = 2, 16 // see kernels/cuda/attention_decode.cu
	w := attendWidth(hs.Dh)
	parts := ceilDiv(positions, 8*attendStep/w) // turns of a block's warps
	if parts <= alone {
		parts = 1
	}
	return [3]int{min(parts, most), hs.K * ceilDiv(hs.H/hs.K, group) * ceilDiv(hs.Dh, w), rows}
}

// inOrder is the sequence of the first row where each row is of the one after the row
// before's, and else -1.
func inOrder(spans []device.Span) int {
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

// attendRow is what a part of a row leaves of its heads, elements: see
// kernels/cuda/attention_decode.cu.
func attendRow(hs device.AttentionShape) int { return min(group, hs.H/hs.K) * (attendWidth(hs.Dh) + 4) }

// attendShared is the shared memory of decode attention, bytes: for each warp its values,
// in whose place its sums come; queries.
func attendShared(dh int) int {
	w := attendWidth(dh)
	return 16 + 8*attendStep/w*(w+8)*2 + group*(roundUp(dh, 64)+32)*2
}

// prefillWidth is the width of the prefill attention kernel that takes heads of
// width dh, 0 where none does and decode's is used row by row.
func prefillWidth(dh int) int {
	switch {
	case dh <= 64:
		return 64
	case dh <= 128:
		return 128
	}
	return 0
}

// prefillShared is its shared memory, bytes: queries, two pages of keys and values.
func prefillShared(width int) int { return 5 * page * width * 2 }

// Prefill attention of sm_90a: tiles of queries, and steps of keys, are of two pages;
// shared memory has the queries of two, five times as many keys or values, and barriers.
const (
	wideTile    = 2 * page
	wideThreads = 512
)

func wideShared(width int) int { return 7*wideTile*width*2 + 1024 }
