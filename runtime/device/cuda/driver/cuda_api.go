//go:build cuda

package driver

/*
#define _GNU_SOURCE
#cgo LDFLAGS: -ldl
#include <cuda.h>
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// load compiles PTX for the current device; log holds what the compiler says.
static CUresult load(CUmodule *m, const char *ptx, char *log, unsigned bytes) {
	CUjit_option o[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
	void *v[] = {log, (void *)(uintptr_t)bytes};
	return cuModuleLoadDataEx(m, ptx, 2, o, v);
}

static CUresult function(CUfunction *f, CUmodule m, const char *name) { return cuModuleGetFunction(f, m, name); }

static CUresult allow_shared(CUfunction f, int bytes) {
	return cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes);
}

static CUresult share_most(CUfunction f) {
	return cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, CU_SHAREDMEM_CARVEOUT_MAX_SHARED);
}

// launch takes n arguments in slots of eight bytes, the first of them tensor maps of
// sixteen slots. With overlap the kernel may start before the one before it has ended;
// it waits by itself (griddepcontrol). cluster blocks along x run side by side.
static CUresult launch(CUfunction f, const unsigned grid[3], unsigned threads, unsigned shared, CUstream s, int overlap, int cluster, const uint64_t *slots, int maps, int n) {
	enum { MAPS = 4, ARGUMENTS = 64 };
	_Alignas(64) uint64_t map[MAPS][16];
	void *args[ARGUMENTS];
	if (n > ARGUMENTS || maps > MAPS)
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(map, slots, maps * sizeof map[0]);
	for (int i = 0; i < n; i++)
		args[i] = i < maps ? (void *)map[i] : (void *)(slots + 15 * maps + i);
	CUlaunchAttribute a[2];
	memset(a, 0, sizeof a);
	CUlaunchConfig c;
	memset(&c, 0, sizeof c);
	c.gridDimX = grid[0], c.gridDimY = grid[1], c.gridDimZ = grid[2];
	c.blockDimX = threads, c.blockDimY = 1, c.blockDimZ = 1;
	c.sharedMemBytes = shared;
	c.hStream = s;
	c.attrs = a;
	if (overlap) {
		a[c.numAttrs].id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
		a[c.numAttrs++].value.programmaticStreamSerializationAllowed = 1;
	}
	if (cluster > 1) {
		a[c.numAttrs].id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
		a[c.numAttrs].value.clusterDim.x = cluster;
		a[c.numAttrs].value.clusterDim.y = 1;
		a[c.numAttrs++].value.clusterDim.z = 1;
	}
	return cuLaunchKernelEx(&c, f, args, NULL);
}

// resident_clusters asks how many clusters of a launch run at once; 0 where the driver has no
// answer.
static CUresult resident_clusters(int *n, CUfunction f, unsigned threads, unsigned shared, int cluster) {
	CUresult (*ask)(int *, CUfunction, const CUlaunchConfig *) = dlsym(RTLD_DEFAULT, "cuOccupancyMaxActiveClusters");
	CUlaunchAttribute a;
	CUlaunchConfig c;
	*n = 0;
	if (!ask)
		return CUDA_SUCCESS;
	memset(&a, 0, sizeof a), memset(&c, 0, sizeof c);
	c.gridDimX = cluster, c.gridDimY = c.gridDimZ = 1;
	c.blockDimX = threads, c.blockDimY = c.blockDimZ = 1;
	c.sharedMemBytes = shared;
	c.attrs = &a, c.numAttrs = 1;
	a.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
	a.value.clusterDim.x = cluster, a.value.clusterDim.y = a.value.clusterDim.z = 1;
	return ask(n, f, &c);
}

// cuTensorMapEncodeTiled came with CUDA 12.0, its prototype too: what an older driver
// lacks is looked for when it is wanted, and the constants are as the later header has
// them.
typedef CUresult (*encoder)(void *map, int type, unsigned rank, void *address, const uint64_t *dims, const uint64_t *strides, const unsigned *box,
	const unsigned *steps, int interleave, int swizzle, int promotion, int fill);
static encoder find_encoder(void) { return (encoder)dlsym(RTLD_DEFAULT, "cuTensorMapEncodeTiled"); }
static int encodes(void) { return find_encoder() != NULL; }

// encode makes the map of 16-bit elements of three dimensions: TMA tiles swizzled by 128
// bytes, zeros outside, L2 filled by 256 bytes.
static CUresult encode(uint64_t *out, uint64_t address, const uint64_t *dims, const uint64_t *strides, const unsigned *box) {
	enum { UINT16 = 1, PLAIN = 0, SWIZZLE_128B = 3, L2_256B = 3, ZEROS = 0 };
	const unsigned steps[] = {1, 1, 1};
	_Alignas(64) uint64_t map[16];
	encoder f = find_encoder();
	if (!f)
		return CUDA_ERROR_NOT_SUPPORTED;
	CUresult r = f(map, UINT16, 3, (void *)(uintptr_t)address, dims, strides, box, steps, PLAIN, SWIZZLE_128B, L2_256B, ZEROS);
	memcpy(out, map, sizeof map);
	return r;
}

static CUresult host_alloc(void **p, size_t n) { return cuMemHostAlloc(p, n, CU_MEMHOSTALLOC_PORTABLE); }
static CUresult host_free(void *p) { return cuMemFreeHost(p); }
static CUresult to_device(CUdeviceptr d, const void *h, size_t n, CUstream s) { return cuMemcpyHtoDAsync(d, h, n, s); }
static CUresult to_host(void *h, CUdeviceptr d, size_t n, CUstream s) { return cuMemcpyDtoHAsync(h, d, n, s); }

static CUresult elapsed(float *ms, CUevent from, CUevent to) { return cuEventElapsedTime(ms, from, to); }

static CUresult begin(CUstream s) { return cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL); }
static CUresult end(CUstream s, CUgraphExec *e) {
	CUgraph g;
	CUresult r = cuStreamEndCapture(s, &g);
	if (r != CUDA_SUCCESS)
		return r;
	r = cuGraphInstantiateWithFlags(e, g, 0);
	cuGraphDestroy(g);
	return r;
}
static CUresult replay(CUgraphExec e, CUstream s) { return cuGraphLaunch(e, s); }
static CUresult forget(CUgraphExec e) { return cuGraphExecDestroy(e); }
*/
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"gorgonia.org/cu"
)

// What package cu lacks: attributes of functions, launch attributes, Tensor maps,
// pinned memory, capture and replay. The current context is the caller's to set.

// errUnsupported is returned where the driver, or a stream capture, does not support a call.
var errUnsupported = errors.New("not supported")

// apiError names a CUDA call and its error.
func apiError(call string, r C.CUresult) error {
	if r == C.CUDA_SUCCESS {
		return nil
	}
	var name, text *C.char
	C.cuGetErrorName(r, &name)
	C.cuGetErrorString(r, &text)
	if name == nil || text == nil {
		return fmt.Errorf("%s: error %d", call, int(r))
	}
	err := fmt.Errorf("%s: %s: %s", call, C.GoString(name), C.GoString(text))
	switch r {
	case C.CUDA_ERROR_OUT_OF_MEMORY:
		return fmt.Errorf("%w: %w", ErrMemory, err)
	case C.CUDA_ERROR_NOT_SUPPORTED, C.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED:
		return fmt.Errorf("%w: %w", errUnsupported, err)
	}
	return err
}

type (
	module   struct{ m C.CUmodule }
	function struct {
		f      C.CUfunction
		shared int // bytes that it may use
	}
	graph struct{ e C.CUgraphExec }
)

func stream(s *cu.Stream) C.CUstream { return *(*C.CUstream)(unsafe.Pointer(s)) }

func loadModule(ptx string) (module, error) {
	text := C.CString(ptx)
	defer C.free(unsafe.Pointer(text))
	log := make([]byte, 4096)
	var m module
	if err := apiError("cuModuleLoadDataEx", C.load(&m.m, text, (*C.char)(unsafe.Pointer(&log[0])), C.uint(len(log)))); err != nil {
		message, _, _ := strings.Cut(string(log), "\x00")
		return m, fmt.Errorf("%w %s", err, strings.TrimSpace(message))
	}
	return m, nil
}

func (m module) function(name string) (*function, error) {
	text := C.CString(name)
	defer C.free(unsafe.Pointer(text))
	f := &function{shared: 48 << 10}
	err := apiError("cuModuleGetFunction", C.function(&f.f, m.m, text))
	return f, err
}

// allow raises the shared memory that a block may use.
func (f *function) allow(shared int) error {
	if shared <= f.shared {
		return nil
	}
	f.shared = shared
	return apiError("cuFuncSetAttribute", C.allow_shared(f.f, C.int(shared)))
}

// shareMost asks for as much shared memory on an SM, and as little L1, as there can be.
func (f *function) shareMost() error {
	return apiError("cuFuncSetAttribute", C.share_most(f.f))
}

func (f *function) launch(s *cu.Stream, c Call, overlap bool) error {
	flag := C.int(0)
	if overlap {
		flag = 1
	}
	grid := [3]C.uint{C.uint(c.Grid[0]), C.uint(c.Grid[1]), C.uint(c.Grid[2])}
	return apiError("cuLaunchKernelEx", C.launch(f.f, &grid[0], C.uint(c.Threads), C.uint(c.Shared), stream(s), flag, C.int(c.Cluster),
		(*C.uint64_t)(unsafe.SliceData(c.Slots)), C.int(c.Maps), C.int(len(c.Slots)-15*c.Maps)))
}

func (f *function) residentClusters(c Call) (int, error) {
	var n C.int
	err := apiError("cuOccupancyMaxActiveClusters", C.resident_clusters(&n, f.f, C.uint(c.Threads), C.uint(c.Shared), C.int(c.Cluster)))
	return int(n), err
}

// encodesTensorMaps says whether the driver does.
func encodesTensorMaps() bool { return C.encodes() != 0 }

func encode(t Tensor) (m TensorMap, err error) {
	dims := [3]C.uint64_t{C.uint64_t(t.Dims[0]), C.uint64_t(t.Dims[1]), C.uint64_t(t.Dims[2])}
	strides := [2]C.uint64_t{C.uint64_t(t.Strides[0]), C.uint64_t(t.Strides[1])}
	box := [3]C.uint{BoxCols, C.uint(t.BoxRows), 1}
	err = apiError("cuTensorMapEncodeTiled", C.encode((*C.uint64_t)(&m[0]), C.uint64_t(t.Address), &dims[0], &strides[0], &box[0]))
	if err != nil {
		err = fmt.Errorf("%w: %+v", err, t)
	}
	return m, err
}

// pinned is host memory that the device copies by itself.
func pinned(bytes int) ([]byte, error) {
	var p unsafe.Pointer
	if err := apiError("cuMemHostAlloc", C.host_alloc(&p, C.size_t(bytes))); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), bytes), nil
}

func unpin(b []byte) error {
	return apiError("cuMemFreeHost", C.host_free(unsafe.Pointer(unsafe.SliceData(b))))
}

func copyIn(p Pointer, b []byte, s *cu.Stream) error {
	return apiError("cuMemcpyHtoDAsync", C.to_device(C.CUdeviceptr(p), unsafe.Pointer(unsafe.SliceData(b)), C.size_t(len(b)), stream(s)))
}

func copyOut(b []byte, p Pointer, s *cu.Stream) error {
	return apiError("cuMemcpyDtoHAsync", C.to_host(unsafe.Pointer(unsafe.SliceData(b)), C.CUdeviceptr(p), C.size_t(len(b)), stream(s)))
}

func beginCapture(s *cu.Stream) error { return apiError("cuStreamBeginCapture", C.begin(stream(s))) }

func endCapture(s *cu.Stream) (graph, error) {
	var g graph
	err := apiError("cuStreamEndCapture", C.end(stream(s), &g.e))
	return g, err
}

// elapsed returns the time between two events.
func elapsed(from, to *cu.Event) (time.Duration, error) {
	var ms C.float
	err := apiError("cuEventElapsedTime", C.elapsed(&ms, *(*C.CUevent)(unsafe.Pointer(from)), *(*C.CUevent)(unsafe.Pointer(to))))
	return time.Duration(float64(ms) * float64(time.Millisecond)), err
}

func (g graph) launch(s *cu.Stream) error { return apiError("cuGraphLaunch", C.replay(g.e, stream(s))) }
func (g graph) destroy() error            { return apiError("cuGraphExecDestroy", C.forget(g.e)) }
