//go:build cuda && cudalibemu

package driver

/*
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

static int calls(uint64_t *n) {
	void (*f)(uint64_t *) = (void (*)(uint64_t *))dlsym(RTLD_DEFAULT, "emulated_calls");
	if (f)
		f(n);
	return f != NULL;
}
*/
import "C"

import "errors"

// CallCounts are the numbers of calls that the host has made to the emulated driver,
// for all devices together.
type CallCounts struct {
	Graphs  int // graph launches
	Kernels int // kernel launches outside of graphs
	Waits   int // for a stream, an event, or a copy of memory that is not pinned
	In, Out int // copies to and from the device
}

// Since is the difference to earlier counts.
func (c CallCounts) Since(o CallCounts) CallCounts {
	return CallCounts{c.Graphs - o.Graphs, c.Kernels - o.Kernels, c.Waits - o.Waits, c.In - o.In, c.Out - o.Out}
}

// CountCalls reads the counters of kernels/emu/libcuda.cc.
func CountCalls() (CallCounts, error) {
	var n [5]C.uint64_t
	if C.calls(&n[0]) == 0 {
		return CallCounts{}, errors.New("want the emulated driver, got another")
	}
	return CallCounts{int(n[0]), int(n[1]), int(n[2]), int(n[3]), int(n[4])}, nil
}
