package device

import "time"

// Launch is one launch of a kernel, or one clearing of memory, that was timed.
type Launch struct {
	Kernel string
	Grid   [3]int
	Time   time.Duration
	// What the launch must at least do: floating-point operations, bytes of memory that are
	// read or written once, and bytes that its blocks read out of the L2 cache. 0 where
	// nothing is known.
	Flops, Bytes, CacheBytes float64
}

// Limits are what a device can reach at most.
type Limits struct {
	BytesPerSecond float64 // a copy within its memory, measured
	FlopsPerSecond float64 // 16-bit products on tensor cores, from the clock and the number of multiprocessors
	ClockMHz       float64 // the highest clock of the multiprocessors
}

// Tracer is a Device that can time every launch. A trace makes the launches wait for each
// other, so that the whole takes longer than without one.
type Tracer interface {
	Device
	// StartTrace times all launches from now on.
	StartTrace() error
	// StopTrace waits for the launches and returns them in their order.
	StopTrace() ([]Launch, error)
	// Limits measures the memory and returns what a launch is held against.
	Limits() (Limits, error)
}
