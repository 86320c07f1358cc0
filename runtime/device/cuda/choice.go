package cuda

import (
	"fmt"
	"math"
)

// Sizes that the kernels are written for; see kernels/cuda.
const (
	streamThreads = 256
	streamRows    = 8   // rows of x that one pass over the weights takes
	streamSegment = 128 // rows of W whose parts are held
	streamWarps   = 8
	page          = 64 // positions a cache page holds
	group         = 8  // query heads that a block of decode attention takes
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

// tile is the shape of a prefill product's blocks.
type tile struct {
	name       string
	rows, cols int // of x and of W
	threads    int
	ahead      int // stages
	perSM      int // blocks that fit an SM
	cost       int // time of a block where it is one of several on an SM
}

// The costs are cycles for an element of K, times ten: a large tile is bound by its
// products, 1024 a cycle; a small one also, less well; the others by what they copy,
// 64 bytes a cycle.
var (
	large = tile{"large", 128, 128, 256, stages, 2, 160}
	small = tile{"small", 64, 64, 128, stages, 4, 52}
	slim  = tile{"slim", 64, 32, 128, 8, 2, 30}
	thin  = tile{"thin", 16, 32, 64, 12, 3, 15}
	tiles = []tile{large, small, slim, thin}
)

// shared is the bytes of a tile's copies under way.
func (t tile) shared() int { return t.ahead * (t.rows + t.cols) * depth * 2 }

// grid is the blocks of a product of n rows by out rows.
func (t tile) grid(n, out int) [3]int { return [3]int{ceilDiv(out, t.cols), ceilDiv(n, t.rows), 1} }

// productTile chooses the tile of a product of n rows by out rows, by the time of the
// SM with most blocks. All add in the same order, so that the choice never shows in the
// bits. A wave of blocks takes two cycles an element of K at least: 16 of them are one
// product, which waits for the one before.
func productTile(n, out int, l limits) tile {
	const chain = 20
	best, least := large, math.MaxInt
	for _, t := range tiles {
		g := t.grid(n, out)
		blocks := g[0] * g[1]
		if time := max(ceilDiv(blocks, l.sms)*t.cost, ceilDiv(blocks, l.sms*t.perSM)*chain); time < least {
			best, least = t, time
		}
	}
	return best
}

// attendShared is the shared memory of decode attention, bytes: queries, scores,
// maxima and sums, the teams' parts.
func attendShared(heads, kv, dh int) int {
	dp := roundUp(dh, 8)
	teams := max(1, 128/(dp/8))
	return group*(roundUp(dp, 64)+32)*2 + group*page*4 + 2*group*4 + 16 + teams*min(group, heads/kv)*dp*4
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

// oldestDriver is the first whose library has all that the launcher calls:
// cuLaunchKernelEx came with CUDA 11.8.
const oldestDriver = 11080

// driverFits refuses a driver that supports less; version is 1000*major + 10*minor.
func driverFits(version int) error {
	if version < oldestDriver {
		return fmt.Errorf("want a driver for CUDA %d.%d or later, got one for %d.%d", oldestDriver/1000, oldestDriver%1000/10, version/1000, version%1000/10)
	}
	return nil
}
