package cuda

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
	name          string
	rows, threads int // rows of x and of W; threads
}

var (
	large = tile{"large", 128, 256}
	small = tile{"small", 64, 128}
)

// shared is the bytes of a tile's copies under way.
func (t tile) shared() int { return stages * 2 * t.rows * depth * 2 }

// productTile chooses the tile of a product of n rows by out rows. Both add in the
// same order, so that the choice never shows in the bits. Two large tiles share an
// SM, or four small ones, half the work of a wave; small tiles copy twice the bytes
// for the same product, taken as 1.3 times the time, and leave less idle where
// there is little to do.
func productTile(n, out int, l limits) tile {
	waves := func(t tile, perSM int) int {
		return ceilDiv(ceilDiv(n, t.rows)*ceilDiv(out, t.rows), perSM*l.sms)
	}
	if 20*waves(large, 2) <= 13*waves(small, 4) {
		return large
	}
	return small
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
