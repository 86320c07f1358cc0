package cuda

// panel is the shape of a training product's blocks, of 128 threads: rows of
// activations by rows or columns of the matrix.
type panel struct {
	name       string
	rows, cols int
	clocks     int // of an SM for 64 elements of K, see productPanel
}

var (
	broad   = panel{"128x128", 128, 128, 832}
	medium  = panel{"128x64", 128, 64, 576}
	quarter = panel{"64x64", 64, 64, 384}
)

// shared is the bytes of a panel's copies under way.
func (p panel) shared() int { return gemmStages * (p.rows + p.cols) * gemmTileK * 2 }

func (p panel) grid(n, out int) [3]int { return [3]int{ceilDiv(n, p.rows), ceilDiv(out, p.cols), 1} }

// productPanel chooses the blocks of a product of n rows by out. All add in the same
// order, so that the choice never shows in the bits. The time is taken as that of
// the SM with the most blocks. For each it needs the larger of what its tensor cores
// take, 13 clocks for 8 products m16n8k16 on Hopper (a bound from the literature, not
// measured here), and its shared memory, at 128 bytes a clock, for what is copied in
// and what the warps read: 832 and 768, 416 and 576, 208 and 384. A block alone on
// an SM is taken to wait for a fifth of the time.
func productPanel(n, out int, l deviceLimits) panel {
	time := func(p panel) int {
		g := p.grid(n, out)
		blocks := 10 * ceilDiv(g[0]*g[1], l.sms)
		return max(blocks, 12) * p.clocks
	}
	best := broad
	for _, p := range []panel{medium, quarter} {
		if time(p) < time(best) {
			best = p
		}
	}
	return best
}

// lossRows is how many rows of logits exist at a time, by the vocabulary alone: at
// most 128 MB of them.
func lossRows(vocab int) int { return min(max(1<<25/max(vocab, 1), 16), 256) }
