package cuda

// Sizes of the sampling kernel; see kernels/cuda/sample.cu.
const (
	sampleThreads     = 512
	sampleSharedBytes = 48 << 10
)
