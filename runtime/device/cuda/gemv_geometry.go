package cuda

import "mop/runtime/device/cuda/driver"

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

// pipelineStages returns the number of stages for n rows of x. If at least two stages fit
// half an SM, it uses only that half, so that a block of the next kernel can start on the
// same SM. Otherwise it uses all shared memory that a block may have. It is 0 where two
// stages do not fit.
func pipelineStages(ld, n int, l deviceLimits) int {
	const (
		minStages     = 2
		maxShared     = 6         // stages of a block that shares its SM
		maxAlone      = 8         // stages of a block that has its SM alone
		halfAnSMBytes = 104 << 10 // leaves room for the next product or for decode attention
	)
	fixed := pipelineSharedBytes(ld, n, 0)
	stage := pipelineSharedBytes(ld, n, 1) - fixed
	if s := (min(halfAnSMBytes, l.shared) - fixed) / stage; s >= minStages {
		return min(s, maxShared)
	}
	if s := (l.shared - fixed) / stage; s >= minStages {
		return min(s, maxAlone)
	}
	return 0
}

// pipelineRowsPerPass returns how many of n rows of x one pass over the weights multiplies.
// It makes as few passes as possible, of equal size. It is 0 where one row does not fit.
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

// pipelineGrid returns the number of blocks that share the pairs of rows of W: at most one
// to an SM, and none with less than a tile of 16 rows.
func pipelineGrid(pairs int, l deviceLimits) int { return max(1, min(l.sms, ceilDiv(pairs, 8))) }

// gemvLaunch is the launch of one pass of a decode product.
type gemvLaunch struct {
	variant string // part of the kernel's name
	rows    int    // rows of x; 0 where not even one fits
	threads int
	grid    int // blocks
	shared  int // bytes of shared memory; those of one row where none fits
	stages  int // of the pipeline, the kernel's last argument; 0 where the kernel has none
}

// chooseGEMV returns the launch with which a set's kernel multiplies some of n rows of x by
// a number of pairs of rows of W with a pitch of ld elements.
func chooseGEMV(set string, pairs, ld, n int, l deviceLimits) gemvLaunch {
	if set == driver.SM90a {
		rows := pipelineRowsPerPass(ld, n, l)
		stages := pipelineStages(ld, max(rows, 1), l)
		return gemvLaunch{"pipeline_", rows, pipelineThreads, pipelineGrid(pairs, l), pipelineSharedBytes(ld, max(rows, 1), max(stages, 2)), stages}
	}
	rows := gemvRowsPerPass(ld, n, l)
	return gemvLaunch{"", rows, gemvThreads, gemvGrid(pairs, l), gemvSharedBytes(ld, max(rows, 1)), 0}
}
