package device

// Capabilities is what a device is and what it can do.
type Capabilities struct {
	Name              string // "cpu" or "cuda", as the user types it
	Hardware          string // the GPU's own name; "cpu" for the CPU
	Threads           int    // host threads that compute
	PrefillRows       int    // rows that a prefill pass should have to keep the device busy
	TrainRows         int    // tokens that a pass of training should have to keep the device busy; 0 = one example
	CacheType         string // of the numbers in a KVCache: "f32", "f16", "bf16", "int8", or "16-bit" where it is the type that the device computes in
	CacheElementBytes int    // bytes of one number in a KVCache
	CacheScaleBytes   int    // bytes of the scale of a head's key or value in a KVCache; 0 = there are none
	Int8Weights       bool   // PlaceOptions.Int8 is supported
	BF16Activations   bool   // PlaceOptions.BF16Activations is supported
	SingleType        bool   // a model is multiplied in one 16-bit type: see Device.SetComputeType
	HostMemory        bool   // weights, buffers and caches lie in the host's memory
}

// CacheBytes returns the bytes of one position's keys and values in a layer's KVCache.
func (c Capabilities) CacheBytes(kvHeads, headSize int) int64 {
	return 2 * int64(kvHeads) * int64(c.CacheElementBytes*headSize+c.CacheScaleBytes)
}

// PlaceOptions say how a device holds a weight and what it multiplies it by. An option
// that the device does not support is an error.
type PlaceOptions struct {
	// Int8 holds a matrix at 8 bits a weight. Element (i, j) is q[i][j] * scale[i]:
	// see QuantizeRow. Each row has one scale: groups of 32 would take a sixteenth
	// more bytes to reduce an already small loss by a fifth to two fifths
	// (bench/results/int8.md). The integers and scales are the same on every device.
	// Vectors are placed as they are stored.
	Int8 bool
	// BF16Activations multiplies weights that are stored as bfloat16 by activations,
	// and gradients, rounded to bfloat16. Sums stay float32, and so do the
	// activations and gradients in memory. Weights of other types are not affected.
	BF16Activations bool
}
