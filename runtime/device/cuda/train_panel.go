package cuda

// panel is the shape of a training product's blocks: rows of activations by rows or
// columns of the matrix, 128 threads.
type panel struct {
	name       string
	rows, cols int
}

var (
	medium  = panel{"medium", 128, 64}
	quarter = panel{"quarter", 64, 64}
)

// shared is the bytes of a panel's copies under way.
func (s panel) shared() int { return stages * (s.rows + s.cols) * depth * 2 }

func (s panel) grid(n, out int) [3]int { return [3]int{ceilDiv(n, s.rows), ceilDiv(out, s.cols), 1} }

// productPanel chooses the blocks of a product of n rows by out. Both add in the same
// order, so that the choice never shows in the bits. The time is taken as that of
// the SM with the most blocks, in elements; a quarter's warps read a third more
// shared memory for each product, taken as 1.15 times the time, and a block alone
// on an SM leaves it waiting for a third of the time.
func productPanel(n, out int, l limits) panel {
	time := func(s panel, factor int) int {
		g := s.grid(n, out)
		blocks := 2 * ceilDiv(g[0]*g[1], l.sms)
		if blocks == 2 {
			blocks = 3
		}
		return blocks * s.rows * s.cols * factor
	}
	if time(medium, 100) <= time(quarter, 115) {
		return medium
	}
	return quarter
}

// lossRows is how many rows of logits exist at a time, by the vocabulary alone: at
// most 128 MB of them.
func lossRows(vocab int) int { return min(max(1<<25/max(vocab, 1), 16), 256) }
