//go:build cuda && cudalibemu

package cuda

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

// calls are what the host has asked the emulated driver for so far, all devices together.
type calls struct {
	graphs, kernels int // launched, kernels outside of graphs
	waits           int // of the host: for a stream, an event, a copy of memory that is not pinned
	in, out         int // copies
}

func (c calls) since(o calls) calls {
	return calls{c.graphs - o.graphs, c.kernels - o.kernels, c.waits - o.waits, c.in - o.in, c.out - o.out}
}

// emulatedCalls asks kernels/emu/libcuda.cc.
func emulatedCalls() (calls, error) {
	var n [5]C.uint64_t
	if C.calls(&n[0]) == 0 {
		return calls{}, errors.New("want the emulated driver, got another")
	}
	return calls{int(n[0]), int(n[1]), int(n[2]), int(n[3]), int(n[4])}, nil
}
