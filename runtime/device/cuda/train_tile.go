package cuda

// trainTile is the shape of a training product's blocks, of 128 threads: rows of
// activations by rows or columns of the matrix.
type trainTile struct {
	name       string
	rows, cols int
	cycles     int // of an SM for 64 elements of K, see productPanel
}

var (
	trainTile128x128 = trainTile{"128x128", 128, 128, 832}
	trainTile128x64  = trainTile{"128x64", 128, 64, 576}
	trainTile64x64   = trainTile{"64x64", 64, 64, 384}
)

// shared is the shared memory of a tile's pipeline stages, in bytes.
func (p trainTile) shared() int { return gemmStages * (p.rows + p.cols) * gemmTileK * 2 }

func (p trainTile) grid(n, out int) [3]int {
	return [3]int{ceilDiv(n, p.rows), ceilDiv(out, p.cols), 1}
}

// chooseTrainTile chooses the blocks of a product of n rows by out. All add in the same
// order, so that the choice never shows in the bits. The time is taken as that of
// the SM with the most blocks. For each it needs the larger of what its tensor cores
// take, 13 clocks for 8 products m16n8k16 on Hopper (a bound from the literature, not
// measured here), and its shared memory, at 128 bytes a clock, for what is copied in
// and what the warps read: 832 and 768, 416 and 576, 208 and 384. A block alone on
// an SM is taken to wait for a fifth of the time.
func chooseTrainTile(n, out int, l deviceLimits) trainTile {
	time := func(p trainTile) int {
		g := p.grid(n, out)
		blocks := 10 * ceilDiv(g[0]*g[1], l.sms)
		return max(blocks, 12) * p.cycles
	}
	best := trainTile128x128
	for _, p := range []trainTile{trainTile128x64, trainTile64x64} {
		if time(p) < time(best) {
			best = p
		}
	}
	return best
}

// spreadShared returns the shared memory with which the blocks of a grid are launched. Where
// there is at most one block for each SM they ask for more than half of an SM's memory: with
// less, blocks that start while the kernel before still runs stack two on the SMs that are free
// first, and the others idle.
func spreadShared(grid [3]int, shared int, l deviceLimits) int {
	const moreThanHalf = 116 << 10
	if grid[0]*grid[1]*grid[2] <= l.sms && l.shared >= moreThanHalf {
		return max(shared, moreThanHalf)
	}
	return shared
}

// lossRows is how many rows of logits exist at a time, by the vocabulary alone: at
// most 128 MB of them.
func lossRows(vocab int) int { return min(max(1<<25/max(vocab, 1), 16), 256) }
