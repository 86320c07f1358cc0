// CUDA threads as fibers on one host thread: CUDA's keywords and the functions of ptx.cuh, for a
// C++ compiler for x86-64. A kernel is launched by name with a grid and arguments; memory is then
// as the device would leave it, or there is an error.
//
// Fibers run in an order drawn from a seed, so that a dependence on the order shows. Warp
// operations are a rendezvous of all 32 lanes: the last one to arrive does the work for all.
// Shared memory is filled with NaN for every block and lies before an unmapped page, as does every
// device buffer. Asynchronous copies happen when they are waited for, and not before. The blocks of
// a cluster run side by side, clusters one after the other. The emulation cannot show memory order
// between blocks, bank conflicts, or time.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "vectors.h"

// CUDA's keywords. KERNEL_ENTRY registers a kernel, so that it can be launched by name.
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define KERNEL_ENTRY(name, threads) static emu::Kernel kernel_##name{#name, emu::caller(&name), threads};

namespace emu {

constexpr int kMaxThreads = 1536; // of a cluster
constexpr int kMaxBlocks = 4;     // of a cluster
constexpr size_t kShared = 228 << 10;

// Kernel is an entry of the table of all kernels; caller unpacks arguments that
// come in slots of eight bytes, a tensor map in sixteen.
struct Kernel {
  const char *name;
  void (*call)(void (*)(), const uint64_t *);
  void (*function)();
  int threads;
  Kernel *next;
  static Kernel *&first() {
    static Kernel *head = nullptr;
    return head;
  }
  struct Bound {
    void (*call)(void (*)(), const uint64_t *);
    void (*function)();
  };
  Kernel(const char *n, Bound b, int t) : name(n), call(b.call), function(b.function), threads(t), next(first()) { first() = this; }
};

template <class A> A argument(const uint64_t *slot) {
  A a;
  memcpy(&a, slot, sizeof a);
  return a;
}
template <class... A, size_t... I> void spread(void (*f)(A...), const uint64_t *slots, std::index_sequence<I...>) {
  const size_t sizes[] = {(sizeof(A) + 7) / 8 ...};
  auto at = [&](size_t i) {
    const uint64_t *p = slots;
    for (size_t j = 0; j < i; j++)
      p += sizes[j];
    return p;
  };
  f(argument<A>(at(I))...);
}
template <class... A> Kernel::Bound caller(void (*f)(A...)) {
  return {[](void (*g)(), const uint64_t *slots) { spread((void (*)(A...))g, slots, std::index_sequence_for<A...>{}); }, (void (*)())f};
}

struct Index {
  int x, y, z;
};

struct Copy {
  void *to;
  const void *from;
  bool valid;
  int group;
};

struct Block;
struct Barrier;

// Product is a wgmma that was started: this thread's part of it is done when it is
// waited for, or before.
struct Product {
  void (*run)(const Product &);
  float *d;
  uint64_t a, b;
  int group;
  bool first;               // what d was counts for nothing
  bool across, across_a;    // B, A
  const uint32_t *own;      // this thread's registers of A, where it comes from there
  uint32_t quad[4][4];      // as they were, those of the four lanes that share rows
};

struct Fiber {
  void *sp;
  int tid; // in the block
  Block *block;
  bool done;
  bool fenced;          // wgmma
  int group, copies;    // cp.async: the open group, how many are pending
  const Barrier *waits; // for the end of a phase of this parity
  int parity;
  uint32_t proxies;     // fences between what it wrote and products
  int open, products;
  uint64_t issued; // of the warpgroup's products, what all of its threads must agree on
  Copy pending[192];
  Product started[16];
};

// Warp is where 32 lanes meet: each puts its registers into in, the last to come
// fills out.
struct Warp {
  const char *op;
  int here;
  uint32_t runnable; // a bit a lane
  uint32_t in[32][8], out[32][4];
  float acc[32][4]; // of mma: each lane's own, in place
  void *address[32];
};

// Barrier is an mbarrier: arrivals and bytes that its phase still waits for.
struct Barrier {
  uint32_t at; // in shared memory
  int count, pending;
  long bytes;
  unsigned phase; // the number of those that have ended
  uint32_t waiting[kMaxThreads / 32]; // lanes of the cluster's warps that wait for it
};

struct Block {
  int rank, index[3];
  int live, at_barrier, at_first, at_group[kMaxThreads / 128]; // threads at the barrier of all, of the first ones, of warpgroups
  unsigned char *shared;
  int barriers;
  Barrier barrier[32];
  uint32_t written[kShared / 16]; // by which thread, after how many of its fences; 0: what products may read
};

// Box is a copy of a box of a tensor to a block, or of bytes of global memory, under way.
struct Box {
  uint64_t map[16];
  int at[3];
  const void *from; // of bytes; no map then
  uint32_t bytes;
  Block *block;
  uint32_t to, barrier;
};

struct Machine {
  Fiber *fibers;
  Warp warps[kMaxThreads / 32];
  Block blocks[kMaxBlocks];
  Fiber *now;
  void *scheduler;
  int threads, cluster; // of a block, blocks of a cluster
  int live, at_cluster; // threads of the cluster
  uint32_t waiting[kMaxThreads / 32], waiting_cluster[kMaxThreads / 32], waiting_first[kMaxThreads / 32], waiting_group[kMaxThreads / 32]; // lanes at the barriers
  int grid[3];
  size_t shared_bytes;
  const Kernel *kernel;
  const uint64_t *slots;
  uint64_t seed;
  int boxes;
  Box box[512];
  char error[512];
};
extern Machine m;

void to_scheduler();
[[noreturn]] void fail(const char *format, ...);

inline uint64_t draw() { // SplitMix64
  uint64_t z = m.seed += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

inline Warp &warp() { return m.warps[(m.now - m.fibers) / 32]; }
inline int lane() { return m.now->tid % 32; }

// meet waits for all lanes of the warp; the last runs work.
void meet(const char *op, void (*work)(Warp &));

inline float widen_bf16(uint16_t b) {
  uint32_t u = (uint32_t)b << 16;
  float f;
  memcpy(&f, &u, 4);
  return f;
}
extern float f16_table[65536];
inline float widen_f16(uint16_t h) { return f16_table[h]; }
uint16_t narrow_f16(float f);
inline uint16_t narrow_bf16(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  if ((u & 0x7fffffff) > 0x7f800000)
    return 0x7fff;
  return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

// The work of the warp's last lane.
template <class T> void multiply_16x8x16(Warp &w);
void multiply_tf32(Warp &w);
void load_matrices(Warp &w);
void load_transposed_matrices(Warp &w);
void store_transposed_matrices(Warp &w);
void exchange(Warp &w);

inline void mma(float (&c)[4], const uint32_t (&r)[6], const char *op, void (*work)(Warp &)) {
  Warp &w = warp();
  int me = lane();
  memcpy(w.in[me], r, 24);
  memcpy(w.acc[me], c, 16);
  meet(op, work);
  memcpy(c, w.acc[me], 16);
}
inline uint32_t tf32(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return (u & 0x7f800000) == 0x7f800000 ? u : (u + 0x1000) & ~0x1fffu;
}

inline void ldmatrix(uint32_t (&r)[4], const void *row, bool trans) {
  Warp &w = warp();
  int me = lane();
  w.address[me] = (void *)row;
  if ((uintptr_t)row % 16)
    fail("ldmatrix: the row of thread %d is not aligned to 16 bytes", m.now->tid);
  meet(trans ? "ldmatrix.trans" : "ldmatrix", trans ? load_transposed_matrices : load_matrices);
  memcpy(r, w.out[me], 16);
}

// written notes who wrote 16 bytes of shared memory.
inline void written(const void *to) {
  Fiber &f = *m.now;
  f.block->written[((const unsigned char *)to - f.block->shared) / 16] = (uint32_t)(f.tid + 1) << 20 | (f.proxies & 0xfffff);
}

inline void stmatrix_trans(void *column, const uint32_t (&r)[4]) {
  Warp &w = warp();
  int me = lane();
  memcpy(w.in[me], r, 16);
  w.address[me] = column;
  if ((uintptr_t)column % 16)
    fail("stmatrix: the column of thread %d is not aligned to 16 bytes", m.now->tid);
  meet("stmatrix.trans", store_transposed_matrices);
}

inline void aligned(const char *what, const void *p) {
  if ((uintptr_t)p % 16)
    fail("%s: thread %d's address is not aligned to 16 bytes", what, m.now->tid);
}

} // namespace emu

// threadIdx, blockIdx, gridDim and smem are read for every thread anew.
#define threadIdx (emu::Index{emu::m.now->tid})
#define blockIdx (emu::Index{emu::m.now->block->index[0], emu::m.now->block->index[1], emu::m.now->block->index[2]})
#define gridDim (emu::Index{emu::m.grid[0], emu::m.grid[1], emu::m.grid[2]})
#define smem (emu::m.now->block->shared)

void __syncthreads();
inline void __syncwarp() {
  emu::meet("bar.warp.sync", [](emu::Warp &) {});
}

inline u32 __shfl_xor_sync(u32, u32 v, int mask) {
  emu::Warp &w = emu::warp();
  int me = emu::lane();
  w.in[me][0] = v;
  emu::meet("shfl", emu::exchange);
  return w.out[me ^ mask][0];
}
inline float __shfl_xor_sync(u32 lanes, float v, int mask) {
  u32 b;
  memcpy(&b, &v, 4);
  b = __shfl_xor_sync(lanes, b, mask);
  memcpy(&v, &b, 4);
  return v;
}
inline double __shfl_xor_sync(u32 lanes, double v, int mask) {
  u64 b;
  memcpy(&b, &v, 8);
  b = (u64)__shfl_xor_sync(lanes, (u32)b, mask) | (u64)__shfl_xor_sync(lanes, (u32)(b >> 32), mask) << 32;
  memcpy(&v, &b, 8);
  return v;
}
template <class T> T __shfl_sync(u32, T v, int lane) {
  static_assert(sizeof(T) == 4);
  emu::Warp &w = emu::warp();
  memcpy(&w.in[emu::lane()][0], &v, 4);
  emu::meet("shfl.idx", emu::exchange);
  memcpy(&v, &w.out[lane % 32][0], 4);
  return v;
}

inline void cudaGridDependencySynchronize() {}
inline void cudaTriggerProgrammaticLaunchCompletion() {}

namespace ptx {
__device__ __forceinline__ uint4 ld_global_nc(const void *p) {
  emu::aligned("ld.v4", p);
  return *(const uint4 *)p;
}
__device__ __forceinline__ uint4 ld_global(const void *p) { return ld_global_nc(p); }
__device__ __forceinline__ uint4 ld_global_if(const void *p, bool in) { return in ? ld_global_nc(p) : uint4{0, 0, 0, 0}; }
__device__ __forceinline__ float4 ld_global_f4(const void *p) {
  emu::aligned("ld.v4", p);
  return *(const float4 *)p;
}
__device__ __forceinline__ uint4 ld_shared(const void *p) { return ld_global_nc(p); }
__device__ __forceinline__ void st_global(void *p, uint4 v) {
  emu::aligned("st.v4", p);
  *(uint4 *)p = v;
}
__device__ __forceinline__ void prefetch_l2(const void *) {}
__device__ __forceinline__ u32 opaque(u32 v) { return v; }

__device__ __forceinline__ void st_shared(void *to, uint4 v) {
  emu::aligned("st.shared.v4", to);
  memcpy(to, &v, 16);
  emu::written(to);
}
__device__ __forceinline__ void cp_async(void *to, const void *from, bool valid) {
  emu::Fiber &f = *emu::m.now;
  emu::aligned("cp.async", to);
  if (valid)
    emu::aligned("cp.async", from);
  if (f.copies == sizeof f.pending / sizeof f.pending[0])
    emu::fail("cp.async: too many copies under way");
  memset(to, 0xff, 16);
  f.pending[f.copies++] = {to, from, valid, f.group};
}
__device__ __forceinline__ void cp_async_commit() { emu::m.now->group++; }
template <int N> __device__ __forceinline__ void cp_async_wait() {
  emu::Fiber &f = *emu::m.now;
  int kept = 0;
  for (int i = 0; i < f.copies; i++) {
    emu::Copy &c = f.pending[i];
    if (c.group >= f.group - N)
      f.pending[kept++] = c;
    else {
      if (c.valid)
        memcpy(c.to, c.from, 16);
      else
        memset(c.to, 0, 16);
      emu::written(c.to);
    }
  }
  f.copies = kept;
}

__device__ __forceinline__ void ldmatrix(u32 (&r)[4], const void *row) { emu::ldmatrix(r, row, false); }
__device__ __forceinline__ void ldmatrix_trans(u32 (&r)[4], const void *row) { emu::ldmatrix(r, row, true); }
__device__ __forceinline__ void mma_bf16(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  emu::mma(c, {a0, a1, a2, a3, b0, b1}, "mma.bf16", emu::multiply_16x8x16<emu::bf16_bits>);
}
__device__ __forceinline__ void mma_f16(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  emu::mma(c, {a0, a1, a2, a3, b0, b1}, "mma.f16", emu::multiply_16x8x16<emu::f16_bits>);
}
__device__ __forceinline__ void mma_tf32(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  emu::mma(c, {a0, a1, a2, a3, b0, b1}, "mma.tf32", emu::multiply_tf32);
}
__device__ __forceinline__ u32 tf32(float v) { return emu::tf32(v); }
__device__ __forceinline__ u32 unpack_bytes(u32 v, int upper, u32 above) {
  v >>= upper ? 16 : 0;
  return (v & 0xff) | (v & 0xff00) << 8 | (above & 0xff) * 0x01000100;
}
__device__ __forceinline__ u32 and_or(u32 v, u32 mask, u32 bits) { return v & mask | bits; }
__device__ __forceinline__ u32 add_bf16(u32 a, u32 b) {
  auto one = [](u16 x, u16 y) { return (u32)emu::narrow_bf16(emu::widen_bf16(x) + emu::widen_bf16(y)); };
  return one(a, b) | one(a >> 16, b >> 16) << 16;
}
__device__ __forceinline__ u32 add_f16(u32 a, u32 b) {
  auto one = [](u16 x, u16 y) { return (u32)emu::narrow_f16(emu::widen_f16(x) + emu::widen_f16(y)); };
  return one(a, b) | one(a >> 16, b >> 16) << 16;
}
__device__ __forceinline__ int round_to_int(double x) { return (int)::nearbyint(x); }
__device__ __forceinline__ u32 pack_bf16(float lo, float hi) { return emu::narrow_bf16(lo) | (u32)emu::narrow_bf16(hi) << 16; }
__device__ __forceinline__ u32 pack_f16(float lo, float hi) { return emu::narrow_f16(lo) | (u32)emu::narrow_f16(hi) << 16; }
__device__ __forceinline__ float widen_f16(u16 h) { return emu::widen_f16(h); }
__device__ __forceinline__ float fmax(float a, float b) { return ::fmaxf(a, b); }
__device__ __forceinline__ float exp2(float x) { return ::exp2f(x); }
__device__ __forceinline__ float rcp(float x) { return 1 / x; }
__device__ __forceinline__ float log2(float x) { return ::log2f(x); }
__device__ __forceinline__ float sqrt(float x) { return ::sqrtf(x); }
__device__ __forceinline__ u32 atom_add_acq_rel(u32 *p, u32 v) {
  u32 old = *p;
  *p += v;
  return old;
}
__device__ __forceinline__ u32 atom_add_shared(u32 *p, u32 v) { return atom_add_acq_rel(p, v); }
__device__ __forceinline__ void atom_add_shared(u64 *p, u64 v) { *p += v; }
__device__ __forceinline__ void fence_acq_rel_gpu() {}
} // namespace ptx
