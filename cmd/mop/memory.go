package main

import (
	"fmt"

	"mop/bench/hardware"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
)

// fits refuses what the machine's memory cannot hold, before it is asked for:
// where the system has no more to give, Go ends the process. Other devices have
// memory of their own, and say themselves when it is full.
func fits(dev device.Device, what string, bytes float64) error {
	have := hardware.Describe().MemoryBytes
	if !dev.Capabilities().HostMemory || have == 0 || bytes <= float64(have) {
		return nil
	}
	return fmt.Errorf("%s: want %.0f bytes of memory, the machine has %d", what, bytes, have)
}

// cacheFits asks fits for a cache of some positions of each of some sequences.
func cacheFits(dev device.Device, c *config.Config, sequences, positions int) error {
	bytes := 0.0 // in floating point: the product need not fit into an integer
	for _, s := range c.Layers {
		bytes += 2 * float64(dev.Capabilities().CacheElementBytes) * float64(sequences) * float64(positions) * float64(s.KVHeads) * float64(s.HeadDim)
	}
	return fits(dev, fmt.Sprintf("a cache of %d positions of %d sequences", positions, sequences), bytes)
}

// madeBytes is what the weights of a source take once they are made: those of a
// stored model are mapped and take nothing.
func (o *options) madeBytes(src checkpoint.Source) float64 {
	if _, stored := src.(*checkpoint.Dir); stored {
		return 0
	}
	return float64(src.Config().Params()) * float64(o.randomType(src.Config()).Size())
}
