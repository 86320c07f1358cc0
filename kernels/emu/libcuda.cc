//go:build ignore

// A libcuda.so.1 whose two devices are the host emulation: what the launcher calls of
// the driver, so that binaries built for a GPU can be tried without one. What belongs to
// one device is refused where the other's context is current. Built by libcuda.sh, which
// adds an empty function for every other name of cuda.h. The cards are of compute
// capability 9.0.
//
// emulated_calls says what the host has asked for so far: a test holds the launcher to it.
// In the environment, EMULATED_DRIVER says for which CUDA the driver is, 12040 if nothing
// does; EMULATED_OVERLAP_IN_GRAPHS and EMULATED_GRAPHS are the errors that capturing an
// overlapping launch, and instantiating a graph, are to end in.
#include <cuda.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "../cuda/emu_c.h"

namespace {
struct Device;
struct Function {
  std::string name;
  std::vector<int> parameters; // slots of eight bytes of each
  Device *device;
  int shared = 48 << 10;
};
struct Module {
  std::map<std::string, Function> functions;
};
struct Call {
  Function *f;
  int grid[3], threads, shared, cluster;
  std::vector<uint64_t> slots;
};
struct Graph {
  std::vector<Call> calls;
};

constexpr size_t kMemory = (size_t)1 << 30;
constexpr size_t kGraphBytes = 1 << 16; // that an instantiated graph takes
constexpr int kDevices = 2;
// A device is its own context, and its one stream.
struct Device {
  std::map<CUdeviceptr, size_t> buffers;
  size_t used = 0;
  bool capturing = false;
  Graph captured;
  CUresult sticky = CUDA_SUCCESS;

  // inside says whether a range lies in one buffer.
  bool inside(CUdeviceptr p, size_t n) const {
    auto b = buffers.upper_bound(p);
    if (b == buffers.begin())
      return false;
    --b;
    return p + n <= b->first + b->second;
  }
} devices[kDevices];
uint64_t seed = 1;
thread_local Device *current;

struct Calls {
  uint64_t graphs, kernels; // launched, kernels outside of graphs
  uint64_t waits;           // of the host: for a stream, an event, a copy of memory that is not pinned
  uint64_t in, out;         // copies
} calls;
std::map<const char *, size_t> pinned; // host memory that the device copies by itself

// copies is a copy from or to host memory: the driver waits where that is not pinned.
void copies(uint64_t &count, const void *h, size_t n) {
  count++;
  auto b = pinned.upper_bound((const char *)h);
  if (b == pinned.begin() || (--b, (const char *)h + n > b->first + b->second))
    calls.waits++;
}

double clock_ms; // of all streams: a microsecond for each block of a launch, or for clearing memory

CUresult run(const Call &c) {
  if (c.f->device != current)
    return CUDA_ERROR_INVALID_CONTEXT;
  clock_ms += 1e-3 * c.grid[0] * c.grid[1] * c.grid[2];
  const char *error = mop_emu_launch(c.f->name.c_str(), c.grid[0], c.grid[1], c.grid[2], c.threads, c.shared, c.cluster, c.slots.data(), seed++);
  if (!error)
    return CUDA_SUCCESS;
  fprintf(stderr, "emulated driver: %s: %s\n", c.f->name.c_str(), error);
  return current->sticky = CUDA_ERROR_ILLEGAL_INSTRUCTION;
}

// told is the error that a test wants of a call, by an environment variable; 0 = none.
CUresult told(const char *name) {
  const char *v = getenv(name);
  return (CUresult)(v ? atoi(v) : 0);
}

CUresult ready(bool copies = true) {
  if (!current)
    return CUDA_ERROR_INVALID_CONTEXT;
  if (copies && current->capturing)
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  return current->sticky;
}
CUresult ready(CUstream s, bool copies = true) { return (Device *)s == current ? ready(copies) : CUDA_ERROR_INVALID_HANDLE; }
} // namespace

#define API extern "C" CUresult CUDAAPI
#define CHECK(x)                  \
  if (CUresult r = (x); r != CUDA_SUCCESS) \
  return r

API cuInit(unsigned) { return CUDA_SUCCESS; }
API cuDriverGetVersion(int *v) {
  const char *say = getenv("EMULATED_DRIVER");
  return *v = say ? atoi(say) : 12040, CUDA_SUCCESS;
}
API cuDeviceGetCount(int *n) { return *n = kDevices, CUDA_SUCCESS; }
API cuDeviceGet(CUdevice *d, int i) { return *d = i, i >= 0 && i < kDevices ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE; }
API cuDeviceGetName(char *name, int n, CUdevice) { return snprintf(name, n, "host emulation (driver)"), CUDA_SUCCESS; }
API cuDeviceTotalMem(size_t *n, CUdevice) { return *n = kMemory, CUDA_SUCCESS; }
API cuDeviceGetAttribute(int *v, CUdevice_attribute a, CUdevice) {
  switch (a) {
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *v = 9; break;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *v = 0; break;
  case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *v = 3; break;
  case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: *v = 1000000; break;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *v = 227 << 10; break;
  default: return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}
API cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d) { return *c = (CUcontext)&devices[d], CUDA_SUCCESS; }
API cuDevicePrimaryCtxRelease(CUdevice) { return CUDA_SUCCESS; }
API cuCtxSetCurrent(CUcontext c) { return current = (Device *)c, CUDA_SUCCESS; }
API cuCtxGetCurrent(CUcontext *c) { return *c = (CUcontext)current, CUDA_SUCCESS; }
API cuStreamCreate(CUstream *s, unsigned) { return *s = (CUstream)current, ready(); }
API cuStreamDestroy(CUstream) { return CUDA_SUCCESS; }
API cuStreamSynchronize(CUstream s) { return calls.waits++, ready(s); }
API cuEventCreate(CUevent *e, unsigned) { return *e = (CUevent) new double(-1), ready(); }
API cuEventDestroy(CUevent e) { return delete (double *)e, CUDA_SUCCESS; }
API cuEventRecord(CUevent e, CUstream s) { return *(double *)e = clock_ms, ready(s); }
API cuEventElapsedTime(float *ms, CUevent from, CUevent to) {
  if (*(double *)from < 0 || *(double *)to < 0)
    return CUDA_ERROR_INVALID_HANDLE;
  return *ms = (float)(*(double *)to - *(double *)from), ready();
}
API cuEventSynchronize(CUevent) { return calls.waits++, ready(); }

API cuMemAlloc(CUdeviceptr *p, size_t n) {
  CHECK(ready());
  if (current->used + n > kMemory)
    return CUDA_ERROR_OUT_OF_MEMORY;
  if (!(*p = (CUdeviceptr)mop_emu_alloc(n)))
    return CUDA_ERROR_OUT_OF_MEMORY;
  current->buffers[*p] = n, current->used += n;
  return CUDA_SUCCESS;
}
API cuMemFree(CUdeviceptr p) {
  CHECK(current ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT);
  auto b = current->buffers.find(p);
  if (b == current->buffers.end())
    return CUDA_ERROR_INVALID_VALUE;
  current->used -= b->second;
  current->buffers.erase(b);
  bool intact = mop_emu_intact((void *)p);
  mop_emu_free((void *)p);
  return intact ? CUDA_SUCCESS : current->sticky = CUDA_ERROR_ILLEGAL_ADDRESS;
}
API cuMemGetInfo(size_t *free, size_t *total) {
  CHECK(ready());
  return *free = kMemory - current->used, *total = kMemory, CUDA_SUCCESS;
}
API cuMemsetD8Async(CUdeviceptr p, unsigned char v, size_t n, CUstream s) {
  CHECK(ready(s));
  clock_ms += 1e-3;
  return current->inside(p, n) ? memset((void *)p, v, n), CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
API cuMemcpyDtoDAsync(CUdeviceptr d, CUdeviceptr from, size_t n, CUstream s) {
  CHECK(ready(s));
  return current->inside(d, n) && current->inside(from, n) ? memmove((void *)d, (const void *)from, n), CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
API cuMemHostAlloc(void **p, size_t n, unsigned) { return *p = malloc(n), pinned[(const char *)*p] = n, ready(); }
API cuMemFreeHost(void *p) { return pinned.erase((const char *)p), free(p), CUDA_SUCCESS; }
API cuMemcpyHtoDAsync(CUdeviceptr d, const void *h, size_t n, CUstream s) {
  CHECK(ready(s));
  copies(calls.in, h, n);
  return current->inside(d, n) ? memcpy((void *)d, h, n), CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
API cuMemcpyDtoHAsync(void *h, CUdeviceptr d, size_t n, CUstream s) {
  CHECK(ready(s));
  copies(calls.out, h, n);
  return current->inside(d, n) ? memcpy(h, (const void *)d, n), CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

// The text is read as far as the launcher relies on it: entries and the number of
// their parameters.
API cuModuleLoadDataEx(CUmodule *m, const void *image, unsigned, CUjit_option *, void **) {
  CHECK(ready());
  std::string text = (const char *)image;
  if (text.compare(0, 9, ".version "))
    return CUDA_ERROR_INVALID_PTX;
  int driver, major = atoi(text.c_str() + 9);
  cuDriverGetVersion(&driver);
  if (major >= 8 && driver < 12000)
    return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
  auto *out = new Module;
  const std::string entry = ".visible .entry ";
  for (size_t at = text.find(entry); at != std::string::npos; at = text.find(entry, at + 1)) {
    size_t open = text.find('(', at), close = text.find("\n)", open);
    Function f;
    f.name = text.substr(at + entry.size(), open - at - entry.size());
    f.device = current;
    for (size_t p = text.find(".param ", open); p < close; p = text.find(".param ", p + 1)) {
      size_t end = text.find_first_of(",\n", p), many = text.find('[', p);
      f.parameters.push_back(many < end ? atoi(text.c_str() + many + 1) / 8 : 1);
    }
    out->functions[f.name] = f;
  }
  *m = (CUmodule)out;
  return CUDA_SUCCESS;
}
API cuModuleGetFunction(CUfunction *f, CUmodule m, const char *name) {
  auto &all = ((Module *)m)->functions;
  auto at = all.find(name);
  if (at == all.end())
    return CUDA_ERROR_NOT_FOUND;
  *f = (CUfunction)&at->second;
  return CUDA_SUCCESS;
}
API cuFuncSetAttribute(CUfunction f, CUfunction_attribute a, int v) {
  if (a == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT && v == CU_SHAREDMEM_CARVEOUT_MAX_SHARED)
    return CUDA_SUCCESS;
  if (a != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || v > 227 << 10)
    return CUDA_ERROR_INVALID_VALUE;
  ((Function *)f)->shared = v;
  return CUDA_SUCCESS;
}
API cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction f, void **args, void **) {
  CHECK(ready(c->hStream, false));
  Call call = {(Function *)f, {(int)c->gridDimX, (int)c->gridDimY, (int)c->gridDimZ}, (int)c->blockDimX, (int)c->sharedMemBytes, 1, {}};
  if (call.shared > call.f->shared)
    return CUDA_ERROR_INVALID_VALUE;
  bool overlaps = false;
  for (unsigned i = 0; i < c->numAttrs; i++) {
    overlaps |= c->attrs[i].id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    if (c->attrs[i].id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) {
      if (c->attrs[i].value.clusterDim.y != 1 || c->attrs[i].value.clusterDim.z != 1)
        return CUDA_ERROR_INVALID_CLUSTER_SIZE;
      call.cluster = c->attrs[i].value.clusterDim.x;
    }
  }
  for (size_t i = 0; i < call.f->parameters.size(); i++)
    for (int j = 0; j < call.f->parameters[i]; j++)
      call.slots.push_back(((uint64_t *)args[i])[j]);
  if (!current->capturing)
    return calls.kernels++, run(call);
  if (overlaps)
    CHECK(told("EMULATED_OVERLAP_IN_GRAPHS"));
  return current->captured.calls.push_back(call), CUDA_SUCCESS;
}
// As many as the multiprocessors hold, one block on each.
API cuOccupancyMaxActiveClusters(int *n, CUfunction, const CUlaunchConfig *c) {
  CHECK(ready());
  int sms = 0, cluster = 1;
  CHECK(cuDeviceGetAttribute(&sms, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 0));
  for (unsigned i = 0; i < c->numAttrs; i++)
    if (c->attrs[i].id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION)
      cluster = c->attrs[i].value.clusterDim.x;
  return *n = sms / cluster, CUDA_SUCCESS;
}
// Declared here: headers of CUDA 11.8 have no prototype. What is not 16-bit elements of
// three dimensions in swizzled boxes the emulation does not know.
#ifdef cuTensorMapEncodeTiled
#undef cuTensorMapEncodeTiled
#endif
extern "C" int mop_tensor_map(void *map, int type, unsigned rank, void *address, const uint64_t *dims, const uint64_t *strides, const unsigned *box,
                              const unsigned *steps, int interleave, int swizzle, int, int fill) asm("cuTensorMapEncodeTiled");
int mop_tensor_map(void *map, int type, unsigned rank, void *address, const uint64_t *dims, const uint64_t *strides, const unsigned *box,
                   const unsigned *steps, int interleave, int swizzle, int, int fill) {
  CHECK(current ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT);
  if ((uintptr_t)map % 64 || type != 1 || rank != 3 || steps[0] != 1 || steps[1] != 1 || steps[2] != 1 || interleave || swizzle != 3 || fill)
    return CUDA_ERROR_INVALID_VALUE;
  const char *error = mop_emu_encode((uint64_t *)map, address, dims, strides, box);
  if (error)
    fprintf(stderr, "emulated driver: tensor map: %s\n", error);
  return error ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}
API cuStreamBeginCapture(CUstream s, CUstreamCaptureMode) {
  CHECK(ready(s));
  current->capturing = true, current->captured.calls.clear();
  return CUDA_SUCCESS;
}
API cuStreamEndCapture(CUstream s, CUgraph *g) {
  CHECK(ready(s, false));
  if (!current->capturing)
    return CUDA_ERROR_ILLEGAL_STATE;
  current->capturing = false;
  *g = (CUgraph) new Graph(current->captured);
  return CUDA_SUCCESS;
}
API cuGraphInstantiateWithFlags(CUgraphExec *e, CUgraph g, unsigned long long) {
  CHECK(ready());
  CHECK(told("EMULATED_GRAPHS"));
  current->used += kGraphBytes;
  return *e = (CUgraphExec) new Graph(*(Graph *)g), CUDA_SUCCESS;
}
API cuGraphDestroy(CUgraph g) { return delete (Graph *)g, CUDA_SUCCESS; }
API cuGraphExecDestroy(CUgraphExec e) {
  CHECK(current ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT);
  return delete (Graph *)e, current->used -= kGraphBytes, CUDA_SUCCESS;
}
API cuGraphLaunch(CUgraphExec e, CUstream s) {
  CHECK(ready(s));
  calls.graphs++;
  for (const Call &c : ((Graph *)e)->calls)
    CHECK(run(c));
  return CUDA_SUCCESS;
}
API cuGetErrorName(CUresult r, const char **text) {
  static thread_local char name[32];
  snprintf(name, sizeof name, "CUDA_ERROR_%d", (int)r);
  return *text = name, CUDA_SUCCESS;
}
API cuGetErrorString(CUresult, const char **text) { return *text = "of the emulated driver", CUDA_SUCCESS; }

extern "C" void emulated_calls(uint64_t n[5]) { n[0] = calls.graphs, n[1] = calls.kernels, n[2] = calls.waits, n[3] = calls.in, n[4] = calls.out; }
