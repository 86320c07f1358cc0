package cuda

// attentionTileRows is the rows that a block of training's attention has of its own.
const attentionTileRows = pageSize

// attentionTrainShared is the shared memory of training's attention, bytes: tiles of
// queries, keys and values, float32, rows four apart from a multiple of the banks; for
// the gradients two tiles of the block's own rows and two halves of those it walks over.
func attentionTrainShared(width int) int { return 3 * attentionTileRows * (width + 4) * 4 }
