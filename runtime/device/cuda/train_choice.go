package cuda

// Sizes of attention in training: a block's own rows, and those it walks over.
const attendTile, attendStep = page, 32

// attendKeepShared is the shared memory of training's attention, bytes: tiles of
// queries, keys and values, float32, rows four apart from a multiple of the banks.
func attendKeepShared(width int) int { return 3 * attendTile * (width + 4) * 4 }

// attendBackShared is that of its gradients: two tiles of the block's own rows, two of
// those it walks over, with two numbers for each of them.
func attendBackShared(width int) int {
	return 2*(attendTile+attendStep)*(width+4)*4 + 2*attendStep*4
}
