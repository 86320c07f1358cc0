package open

import (
	"fmt"

	"mop/internal/machine"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/kvcache"
)

// CheckMemory returns an error if the host cannot hold a number of bytes. The check comes
// before the allocation because the Go runtime ends the process when the system has no
// memory left. Other devices have their own memory, and report themselves that it is full.
func CheckMemory(dev device.Device, what string, bytes float64) error {
	have := machine.Describe().MemoryBytes
	if !dev.Capabilities().HostMemory || have == 0 || bytes <= float64(have) {
		return nil
	}
	return fmt.Errorf("%s: want %.0f bytes of memory, the machine has %d", what, bytes, have)
}

// GeneratedBytes is the memory that the weights of a source take once they are generated.
// It is 0 for a stored checkpoint, whose files are mapped.
func (o SourceOptions) GeneratedBytes(src checkpoint.Source) float64 {
	if _, stored := src.(*checkpoint.Dir); stored {
		return 0
	}
	return float64(src.Config().Params()) * float64(o.ElementType(src.Config()).Size())
}

// CacheBytes is the size of a KV cache in the device's element type, for a number of
// sequences of up to capacity positions each. It is a floating-point number because the
// product need not fit into an integer.
func CacheBytes(dev device.Device, c *config.Config, sequences, capacity int) float64 {
	bytes := 0.0
	for _, s := range c.Layers {
		bytes += float64(sequences) * float64(capacity) * float64(dev.Capabilities().CacheBytes(s.KVHeads, s.HeadDim))
	}
	return bytes
}

// Cache makes an empty KV cache, or returns an error if it does not fit into memory.
func Cache(dev device.Device, c *config.Config, sequences, capacity int) (*kvcache.Cache, error) {
	what := fmt.Sprintf("a cache of %d positions of %d sequences", capacity, sequences)
	if err := CheckMemory(dev, what, CacheBytes(dev, c, sequences, capacity)); err != nil {
		return nil, err
	}
	return kvcache.NewSequences(dev, c, sequences, capacity)
}
