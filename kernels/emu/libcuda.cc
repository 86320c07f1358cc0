//go:build ignore

// A libcuda.so.1 whose device is the host emulation: what the launcher calls of the
// driver, so that binaries built for a GPU can be tried without one. Built by
// libcuda.sh, which adds an empty function for every other name of cuda.h.
#include <cuda.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "../cuda/emu.cc"

namespace {
struct Function {
  std::string name;
  int parameters;
  int shared = 48 << 10;
};
struct Module {
  std::map<std::string, Function> functions;
};
struct Call {
  Function *f;
  int grid[3], threads, shared;
  std::vector<uint64_t> slots;
};
struct Graph {
  std::vector<Call> calls;
};

constexpr size_t kMemory = (size_t)1 << 30;
std::map<CUdeviceptr, size_t> buffers;
size_t used;
bool capturing;
Graph captured;
uint64_t seed = 1;
thread_local CUcontext current;
CUcontext const context = (CUcontext)&buffers;
CUresult sticky = CUDA_SUCCESS;

CUresult run(const Call &c) {
  const char *error = mop_emu_launch(c.f->name.c_str(), c.grid[0], c.grid[1], c.grid[2], c.threads, c.shared, c.slots.data(), seed++);
  if (!error)
    return CUDA_SUCCESS;
  fprintf(stderr, "emulated driver: %s: %s\n", c.f->name.c_str(), error);
  return sticky = CUDA_ERROR_ILLEGAL_INSTRUCTION;
}

// inside says whether a range lies in one buffer.
bool inside(CUdeviceptr p, size_t n) {
  auto b = buffers.upper_bound(p);
  if (b == buffers.begin())
    return false;
  --b;
  return p + n <= b->first + b->second;
}

CUresult ready(bool copies = true) {
  if (!current)
    return CUDA_ERROR_INVALID_CONTEXT;
  if (copies && capturing)
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  return sticky;
}
} // namespace

#define API extern "C" CUresult CUDAAPI
#define CHECK(x)                  \
  if (CUresult r = (x); r != CUDA_SUCCESS) \
  return r

API cuInit(unsigned) { return CUDA_SUCCESS; }
API cuDriverGetVersion(int *v) { return *v = 12040, CUDA_SUCCESS; }
API cuDeviceGetCount(int *n) { return *n = 1, CUDA_SUCCESS; }
API cuDeviceGet(CUdevice *d, int i) { return *d = i, i == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE; }
API cuDeviceGetName(char *name, int n, CUdevice) { return snprintf(name, n, "host emulation (driver)"), CUDA_SUCCESS; }
API cuDeviceTotalMem(size_t *n, CUdevice) { return *n = kMemory, CUDA_SUCCESS; }
API cuDeviceGetAttribute(int *v, CUdevice_attribute a, CUdevice) {
  switch (a) {
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *v = 9; break;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *v = 0; break;
  case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *v = 3; break;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *v = 227 << 10; break;
  default: return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}
API cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice) { return *c = context, CUDA_SUCCESS; }
API cuDevicePrimaryCtxRelease(CUdevice) { return CUDA_SUCCESS; }
API cuCtxSetCurrent(CUcontext c) { return current = c, CUDA_SUCCESS; }
API cuCtxGetCurrent(CUcontext *c) { return *c = current, CUDA_SUCCESS; }
API cuStreamCreate(CUstream *s, unsigned) { return *s = (CUstream)&captured, ready(); }
API cuStreamDestroy(CUstream) { return CUDA_SUCCESS; }
API cuStreamSynchronize(CUstream) { return ready(); }
API cuEventCreate(CUevent *e, unsigned) { return *e = (CUevent) new int, ready(); }
API cuEventDestroy(CUevent e) { return delete (int *)e, CUDA_SUCCESS; }
API cuEventRecord(CUevent, CUstream) { return ready(); }
API cuEventSynchronize(CUevent) { return ready(); }

API cuMemAlloc(CUdeviceptr *p, size_t n) {
  CHECK(ready());
  if (used + n > kMemory)
    return CUDA_ERROR_OUT_OF_MEMORY;
  if (!(*p = (CUdeviceptr)mop_emu_alloc(n)))
    return CUDA_ERROR_OUT_OF_MEMORY;
  buffers[*p] = n, used += n;
  return CUDA_SUCCESS;
}
API cuMemFree(CUdeviceptr p) {
  if (!buffers.count(p))
    return CUDA_ERROR_INVALID_VALUE;
  used -= buffers[p];
  buffers.erase(p);
  bool intact = mop_emu_intact((void *)p);
  mop_emu_free((void *)p);
  return intact ? CUDA_SUCCESS : sticky = CUDA_ERROR_ILLEGAL_ADDRESS;
}
API cuMemGetInfo(size_t *free, size_t *total) { return *free = kMemory - used, *total = kMemory, ready(); }
API cuMemsetD8Async(CUdeviceptr p, unsigned char v, size_t n, CUstream) {
  CHECK(ready());
  return inside(p, n) ? memset((void *)p, v, n), CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
API cuMemHostAlloc(void **p, size_t n, unsigned) { return *p = malloc(n), ready(); }
API cuMemFreeHost(void *p) { return free(p), CUDA_SUCCESS; }
API cuMemcpyHtoDAsync(CUdeviceptr d, const void *h, size_t n, CUstream) {
  CHECK(ready());
  return inside(d, n) ? memcpy((void *)d, h, n), CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
API cuMemcpyDtoHAsync(void *h, CUdeviceptr d, size_t n, CUstream) {
  CHECK(ready());
  return inside(d, n) ? memcpy(h, (const void *)d, n), CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

// The text is read as far as the launcher relies on it: entries and the number of
// their parameters.
API cuModuleLoadDataEx(CUmodule *m, const void *image, unsigned, CUjit_option *, void **) {
  CHECK(ready());
  std::string text = (const char *)image;
  if (text.compare(0, 9, ".version "))
    return CUDA_ERROR_INVALID_PTX;
  auto *out = new Module;
  const std::string entry = ".visible .entry ";
  for (size_t at = text.find(entry); at != std::string::npos; at = text.find(entry, at + 1)) {
    size_t open = text.find('(', at), close = text.find("\n)", open);
    Function f;
    f.name = text.substr(at + entry.size(), open - at - entry.size());
    f.parameters = 0;
    for (size_t p = text.find(".param ", open); p < close; p = text.find(".param ", p + 1))
      f.parameters++;
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
  if (a != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || v > 227 << 10)
    return CUDA_ERROR_INVALID_VALUE;
  ((Function *)f)->shared = v;
  return CUDA_SUCCESS;
}
API cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction f, void **args, void **) {
  CHECK(ready(false));
  Call call = {(Function *)f, {(int)c->gridDimX, (int)c->gridDimY, (int)c->gridDimZ}, (int)c->blockDimX, (int)c->sharedMemBytes, {}};
  if (call.shared > call.f->shared)
    return CUDA_ERROR_INVALID_VALUE;
  for (int i = 0; i < call.f->parameters; i++)
    call.slots.push_back(*(uint64_t *)args[i]);
  if (capturing)
    return captured.calls.push_back(call), CUDA_SUCCESS;
  return run(call);
}
API cuStreamBeginCapture(CUstream, CUstreamCaptureMode) {
  CHECK(ready());
  capturing = true, captured.calls.clear();
  return CUDA_SUCCESS;
}
API cuStreamEndCapture(CUstream, CUgraph *g) {
  if (!capturing)
    return CUDA_ERROR_ILLEGAL_STATE;
  capturing = false;
  *g = (CUgraph) new Graph(captured);
  return CUDA_SUCCESS;
}
API cuGraphInstantiateWithFlags(CUgraphExec *e, CUgraph g, unsigned long long) { return *e = (CUgraphExec) new Graph(*(Graph *)g), ready(); }
API cuGraphDestroy(CUgraph g) { return delete (Graph *)g, CUDA_SUCCESS; }
API cuGraphExecDestroy(CUgraphExec e) { return delete (Graph *)e, CUDA_SUCCESS; }
API cuGraphLaunch(CUgraphExec e, CUstream) {
  CHECK(ready());
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
