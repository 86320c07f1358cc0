package cuda

import (
	"fmt"
	"slices"

	"mop/runtime/device/cuda/driver"
)

// Sizes of the decode products. The sets sm_80 and sm_90 use kernels/cuda/gemv.cuh.
const (
	gemvThreads     = 256
	gemvMaxRows     = 8   // rows of x that one pass over the weights multiplies
	gemvSegmentRows = 128 // rows of W whose partial sums are in shared memory together
	gemvWarps       = 8
)

// The set sm_90a uses the multistage shared-memory pipeline of kernels/cuda/pipeline.cuh.
const (
	pipelineThreads      = gemvThreads + 64                // two warps copy weights
	pipelineStageBytes   = 16 * (1024 + 64)                // 16 rows, padded against bank conflicts
	pipelinePartialBytes = gemvWarps * gemvSegmentRows * 4 // partial sums, independent of the rows of x
	pipelineDeepStages   = 4                               // stages that keep the memory busy
)

// With several or long rows of x, sm_90a uses kernels/cuda/pipeline_batch.cuh, in which x does
// not stay in shared memory.
const (
	batchThreads      = pipelineThreads + 64 // one more warp copies x
	batchMaxRows      = 64                   // rows of x that one pass over the weights multiplies
	batchChunk        = 512                  // bytes of a row of W in a stage
	batchWeightBytes  = 32 * (batchChunk + 64)
	batchPartialBytes = gemvWarps * 8 * (32 + 4) * 4
)

// gemvSharedBytes returns the shared memory of a decode product over n rows of x: x
// [n, ld+32] in 16 bits and the partial sums [8, 128, n] in float32.
func gemvSharedBytes(ld, n int) int {
	return n*(ld+32)*2 + gemvWarps*gemvSegmentRows*n*4
}

// gemvRowsPerPass returns how many of n rows of x one pass over the weights multiplies. It
// is the largest number with which two blocks fit an SM, or one row where not even that
// fits twice. It is 0 where one row does not fit at all.
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

// gemvGrid returns the number of blocks that share the pairs of rows of W: at most two to
// an SM, and none with less than a tile of 16 rows.
func gemvGrid(pairs int, l deviceLimits) int { return max(1, min(2*l.sms, ceilDiv(pairs, 8))) }

// pipelineSharedBytes returns the shared memory of a pipelined decode product over n rows
// of x: x, the partial sums, the stages with two barriers each, and one more barrier.
func pipelineSharedBytes(ld, n, stages int) int {
	return n*(ld+32)*2 + pipelinePartialBytes + stages*(pipelineStageBytes+16) + 8
}

// pipelineStages returns the number of stages for n rows of x that stay in shared memory. It is
// 0 where two stages do not fit.
func pipelineStages(ld, n int, l deviceLimits) int {
	fixed := pipelineSharedBytes(ld, n, 0)
	return stagesThatFit(fixed, pipelineSharedBytes(ld, n, 1)-fixed, 2, l)
}

// stagesThatFit returns the number of stages of a decode product's block that has a number of
// bytes of shared memory beside its stages. The block uses half an SM if a wanted number of
// stages fits there, so that a block of the next kernel can start on the same SM, and otherwise
// all shared memory that a block may have. It is 0 where two stages do not fit.
func stagesThatFit(fixed, stage, wanted int, l deviceLimits) int {
	const (
		minStages     = 2
		maxShared     = 6         // stages of a block that shares its SM
		maxAlone      = 8         // stages of a block that has its SM alone
		halfAnSMBytes = 104 << 10 // leaves room for the next product or for decode attention
	)
	if s := (min(halfAnSMBytes, l.shared) - fixed) / stage; s >= wanted {
		return min(s, maxShared)
	}
	if s := (l.shared - fixed) / stage; s >= minStages {
		return min(s, maxAlone)
	}
	return 0
}

// batchSizes are the rows of x of the kernels of pipeline_batch.cuh.
var batchSizes = []int{8, 16, 32, batchMaxRows}

// batchSharedBytes returns the shared memory of a decode product of up to size rows of x by
// weights of some bytes, which copies both in stages: partial sums, and for each stage the
// weights, the same columns of x and two barriers.
func batchSharedBytes(size, weightBytes, stages int) int {
	columns := batchChunk / weightBytes
	pitch := columns + 32 // padded against bank conflicts
	if weightBytes == 1 {
		pitch = columns + 8
	}
	return batchPartialBytes + stages*(batchWeightBytes+2*size*pitch+16)
}

// batchStages returns the number of stages of that product.
func batchStages(size, weightBytes int, l deviceLimits) int {
	return stagesThatFit(batchPartialBytes, batchSharedBytes(size, weightBytes, 1)-batchPartialBytes, pipelineDeepStages, l)
}

// pipelineGrid returns the number of blocks that share the pairs of rows of W: at most one
// to an SM, and none with less than a tile of 16 rows.
func pipelineGrid(pairs int, l deviceLimits) int { return max(1, min(l.sms, ceilDiv(pairs, 8))) }

// gemvLaunch is the launch of one pass of a decode product.
type gemvLaunch struct {
	variant string // part of the kernel's name
	rows    int    // rows of x; 0 where not even one fits
	threads int
	grid    int  // blocks
	shared  int  // bytes of shared memory; those of one row where none fits
	stages  int  // of the pipeline, the kernel's last argument; 0 where the kernel has none
	half    bool // the kernel takes x as 16-bit rows, after the norm
}

// chooseGEMV returns the launch with which a set's kernel multiplies some of n rows of x by
// a number of pairs of rows of W with a pitch of ld elements of some bytes. A row's result does
// not depend on the choice: all kernels of a set add in the same order.
func chooseGEMV(set string, pairs, ld, weightBytes, n int, l deviceLimits) gemvLaunch {
	if set != driver.SM90a {
		rows := gemvRowsPerPass(ld, n, l)
		return gemvLaunch{"", rows, gemvThreads, gemvGrid(pairs, l), gemvSharedBytes(ld, max(rows, 1)), 0, false}
	}
	grid := pipelineGrid(pairs, l)
	if n <= gemvMaxRows {
		// x stays in shared memory if that leaves enough for the weights.
		if stages := pipelineStages(ld, n, l); stages >= pipelineDeepStages {
			return gemvLaunch{"pipeline_", n, pipelineThreads, grid, pipelineSharedBytes(ld, n, stages), stages, false}
		}
	}
	rows := ceilDiv(n, ceilDiv(n, batchMaxRows)) // passes of equal size
	size := batchSizes[slices.IndexFunc(batchSizes, func(size int) bool { return size >= rows })]
	stages := batchStages(size, weightBytes, l)
	return gemvLaunch{fmt.Sprintf("batch%d_", size), rows, batchThreads, grid, batchSharedBytes(size, weightBytes, stages), stages, true}
}
