package cuda

// Sizes that several kernels share; see kernels/cuda/types.cuh.
const (
	pageSize    = 64   // positions of a KV cache page
	maxHeadSize = 1024 // largest head size of the attention kernels
)

// deviceLimits are the properties of a GPU that launch geometry depends on.
type deviceLimits struct {
	sms    int // number of streaming multiprocessors
	shared int // bytes of shared memory that a block may use

	clustersOfFour int // clusters of four blocks, one on an SM, that run at once; 0 = sms/4
}

// roundUp returns n rounded up to a multiple of m.
func roundUp(n, m int) int { return (n + m - 1) / m * m }

// ceilDiv returns a/b rounded up.
func ceilDiv(a, b int) int { return (a + b - 1) / b }

// rowPitch returns the distance between rows of n 16-bit elements, in elements. Rows are
// padded to a multiple of 128 bytes.
func rowPitch(n int) int { return max(roundUp(n, 64), 64) }
