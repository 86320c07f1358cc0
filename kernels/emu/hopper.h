// What sm_90a adds to the functions of ptx.cuh, on the host; the continuation of emu.h.
//
// A copy of a box or of bytes poisons where it goes at once, and arrives at a moment that
// the scheduler draws; so do the copies to the blocks of a cluster, each by itself. A
// product reads shared memory and adds to its registers when it is started or when it
// is waited for, drawn for each thread: what is read too early, or written or released
// too early, shows. It reads nothing that a thread wrote itself and did not fence
// (ptx::for_products), and its registers of A must be the same when it ends. A barrier knows arrivals and bytes, and more or fewer than it waits
// for are errors, at the latest when the block ends.
#pragma once

namespace emu {

inline uint32_t offset(const void *p) { return (uint32_t)((const unsigned char *)p - m.now->block->shared); }

// The swizzle of 128 bytes: chunks of 16 bytes are turned by bits 7 to 9 of the address.
EMU_UNCHECKED inline uint32_t swizzled(uint32_t at) { return at ^ (at >> 7 & 7) << 4; }

void sync_first(int threads);

inline Barrier *barrier_at(Block &b, uint32_t at) {
  for (int i = 0; i < b.barriers; i++)
    if (b.barrier[i].at == at)
      return &b.barrier[i];
  return nullptr;
}
inline Barrier &barrier(Block &b, const void *p) {
  Barrier *found = barrier_at(b, offset(p));
  if (!found)
    fail("thread %d: no barrier was made at %#x of shared memory", m.now->tid, offset(p));
  return *found;
}

// ended begins a new phase where nothing is waited for any more, and wakes those who
// waited.
inline void ended(Barrier &b) {
  if (b.pending || b.bytes)
    return;
  b.phase++;
  b.pending = b.count;
  for (int w = 0; w < m.cluster * m.threads / 32; w++) {
    m.warps[w].runnable |= b.waiting[w];
    b.waiting[w] = 0;
  }
}

inline void arrived(Barrier &b) {
  if (b.pending == 0)
    fail("thread %d: more than %d arrivals at the barrier at %#x, which waits for %ld bytes", m.now->tid, b.count, b.at, b.bytes);
  b.pending--;
  ended(b);
}

// A tensor map as mop_emu_encode makes it.
struct Tensor {
  uint64_t magic, address, dims[3], strides[2]; // 16-bit elements; bytes
  uint64_t box[3], sum[5], check;
};
static_assert(sizeof(Tensor) == 128, "a tensor map has 128 bytes");
constexpr uint64_t kTensor = 0x6d6f7074656e7372;
inline uint64_t check(const Tensor &t) {
  uint64_t h = t.magic;
  for (const uint64_t *p = &t.address; p < &t.check; p++)
    h = (h ^ *p) * 0x9e3779b97f4a7c15u;
  return h;
}

inline long box_bytes(const Tensor &t) { return 2 * t.box[0] * t.box[1] * t.box[2]; }

inline void load_box(int mask, void *to, const void *map, int c0, int c1, int c2, const void *b) {
  Tensor t;
  if ((uintptr_t)map % 64)
    fail("cp.async.bulk.tensor: the map is not aligned to 64 bytes");
  memcpy(&t, map, sizeof t);
  if (t.magic != kTensor || t.check != check(t))
    fail("cp.async.bulk.tensor: this is no tensor map");
  uint32_t at = offset(to);
  if (at % 1024) // 128 would do, but products read rows in eights
    fail("cp.async.bulk.tensor: %#x of shared memory is not where eight swizzled rows begin", at);
  if (at + (size_t)box_bytes(t) > m.shared_bytes)
    fail("cp.async.bulk.tensor: %ld bytes at %#x leave the shared memory", box_bytes(t), at);
  if (mask >> m.cluster)
    fail("cp.async.bulk.tensor: mask %d of a cluster of %d blocks", mask, m.cluster);
  for (int r = 0; r < m.cluster; r++)
    if (mask >> r & 1) {
      if (m.boxes == sizeof m.box / sizeof m.box[0])
        fail("cp.async.bulk.tensor: too many copies under way");
      Box &x = m.box[m.boxes++];
      memcpy(x.map, &t, sizeof t);
      x.from = nullptr, x.at[0] = c0, x.at[1] = c1, x.at[2] = c2, x.block = &m.blocks[r], x.to = at, x.barrier = offset(b);
      memset(x.block->shared + at, 0xff, box_bytes(t));
    }
}

inline void copy(void *to, const void *from, int bytes, const void *b) {
  uint32_t at = offset(to);
  if (at % 16 || (uintptr_t)from % 16 || bytes % 16 || bytes < 16)
    fail("cp.async.bulk: thread %d: %d bytes from %p to %#x of shared memory: want multiples of 16", m.now->tid, bytes, from, at);
  if (at + (size_t)bytes > m.shared_bytes)
    fail("cp.async.bulk: %d bytes at %#x leave the shared memory", bytes, at);
  if (m.boxes == sizeof m.box / sizeof m.box[0])
    fail("cp.async.bulk: too many copies under way");
  barrier(*m.now->block, b);
  Box &x = m.box[m.boxes++];
  x.from = from, x.bytes = bytes, x.block = m.now->block, x.to = at, x.barrier = offset(b);
  memset(to, 0xff, bytes);
}

// put writes what a copy of a box brings, and gives its bytes.
inline long put(const Box &x) {
  if (x.from) {
    memcpy(x.block->shared + x.to, x.from, x.bytes);
    memset(x.block->written + x.to / 16, 0, x.bytes / 16 * sizeof x.block->written[0]);
    return x.bytes;
  }
  Tensor t;
  memcpy(&t, x.map, sizeof t);
  uint32_t to = x.to;
  for (uint64_t z = 0; z < t.box[2]; z++)
    for (uint64_t y = 0; y < t.box[1]; y++) {
      uint16_t row[256] = {};
      long long c[3] = {x.at[0], x.at[1] + (long long)y, x.at[2] + (long long)z};
      if (c[1] >= 0 && c[1] < (long long)t.dims[1] && c[2] >= 0 && c[2] < (long long)t.dims[2]) {
        const unsigned char *from = (const unsigned char *)t.address + c[1] * t.strides[0] + c[2] * t.strides[1];
        const long long lo = c[0] < 0 ? -c[0] : 0, in = (long long)t.dims[0] - c[0], hi = in < (long long)t.box[0] ? in : (long long)t.box[0];
        if (lo < hi)
          memcpy(row + lo, from + 2 * (c[0] + lo), 2 * (hi - lo));
      }
      for (uint64_t e = 0; e < t.box[0]; e += 8, to += 16)
        memcpy(x.block->shared + swizzled(to), row + e, 16), x.block->written[swizzled(to) / 16] = 0;
    }
  return box_bytes(t);
}

// deliver ends copy i.
inline void deliver(int i) {
  Box x = m.box[i];
  m.box[i] = m.box[--m.boxes];
  long bytes = put(x);
  Barrier *b = x.block->live ? barrier_at(*x.block, x.barrier) : nullptr;
  if (!b) {
    snprintf(m.error, sizeof m.error, "cp.async.bulk: block %2$d of the cluster has ended, or it made no barrier at %1$#x", x.barrier, x.block->rank);
    return;
  }
  b->bytes -= bytes;
  ended(*b);
}

// readable refuses 16 bytes that no product may read.
EMU_UNCHECKED inline void readable(uint32_t at, uint64_t descriptor) {
  if (at + 16 > m.shared_bytes)
    fail("wgmma: descriptor %#llx leaves the shared memory", (unsigned long long)descriptor);
  const Fiber *block = m.fibers + m.now->block->rank * m.threads;
  if (uint32_t w = m.now->block->written[at / 16]; w && (block[(w >> 20) - 1].proxies & 0xfffff) == (w & 0xfffff))
    fail("wgmma: thread %d wrote %#x of shared memory and did not fence it", (w >> 20) - 1, at);
}

EMU_UNCHECKED inline uint32_t start_of(uint64_t descriptor) { return (descriptor & 0x3fff) << 4; }
EMU_UNCHECKED inline uint32_t leading(uint64_t descriptor) { return (descriptor >> 16 & 0x3fff) << 4; }
EMU_UNCHECKED inline uint32_t stride(uint64_t descriptor) { return (descriptor >> 32 & 0x3fff) << 4; }

// row16 reads 16 elements of k of a row of an operand.
template <class T> EMU_UNCHECKED inline void row16(float *to, uint64_t descriptor, int row) {
  for (int chunk = 0; chunk < 2; chunk++) {
    uint32_t at = swizzled(start_of(descriptor) + row / 8 * stride(descriptor) + row % 8 * 128 + chunk * 16);
    readable(at, descriptor);
    widen_row<T>(to + 8 * chunk, m.now->block->shared + at);
  }
}

// across_at returns where an element of an operand lies that lies across: 64 elements of n side by
// side in each of eight rows of k, those of the next 64 a leading distance on, the next eight rows
// a stride.
EMU_UNCHECKED inline uint32_t across_at(uint64_t descriptor, int k, int n) {
  return swizzled(start_of(descriptor) + n / 64 * leading(descriptor) + k / 8 * stride(descriptor) + k % 8 * 128 + n % 64 * 2);
}

// column16 reads 16 elements of k of a column of such an operand.
template <class T> EMU_UNCHECKED inline void column16(float *to, uint64_t descriptor, int n) {
  for (int k = 0; k < 16; k++) {
    uint32_t at = across_at(descriptor, k, n);
    readable(at & ~15u, descriptor);
    uint16_t v;
    memcpy(&v, m.now->block->shared + at, 2);
    to[k] = T::widen(u32x4{v})[0];
  }
}

// columns16 reads a row of k of it, two columns of each eighth.
template <class T, int N> EMU_UNCHECKED inline void columns16(float *to, uint64_t descriptor, int k, int column) {
  uint32_t words[N / 8];
  for (int n = 0; n < N; n += 8) {
    uint32_t at = across_at(descriptor, k, n);
    readable(at, descriptor);
    memcpy(&words[n / 8], m.now->block->shared + at + 2 * column, 4);
  }
  constexpr int kWhole = N / 8 / 4 * 4;
  for (int n = 0; n < kWhole; n += 4) {
    float lower[4], upper[4];
    widen_pairs<T>(load4(words + n), lower, upper);
    for (int i = 0; i < 4; i++)
      to[2 * (n + i)] = lower[i], to[2 * (n + i) + 1] = upper[i];
  }
  for (int n = kWhole; n < N / 8; n++) {
    float lower[4], upper[4];
    widen_pairs<T>(u32x4{words[n]}, lower, upper);
    to[2 * n] = lower[0], to[2 * n + 1] = upper[0];
  }
}

// quad16 gives a row of A out of the registers of the four lanes that share it, and its
// eighth next one.
template <class T> EMU_UNCHECKED inline void quad16(float (&a)[2][16], const Product &p) {
  if (memcmp(p.own, p.quad[m.now->tid % 4], sizeof p.quad[0]))
    fail("wgmma: thread %d has written registers of A that a product under way reads", m.now->tid);
  for (int t = 0; t < 4; t++) {
    float lower[4], upper[4];
    widen_pairs<T>(load4(p.quad[t]), lower, upper);
    for (int i = 0; i < 4; i++)
      a[i % 2][i / 2 * 8 + 2 * t] = lower[i], a[i % 2][i / 2 * 8 + 2 * t + 1] = upper[i];
  }
}

// described refuses what is no operand of swizzled rows of 128 bytes, eight of them at a
// multiple of 1024 bytes.
inline void described(uint64_t d) {
  constexpr uint64_t kUnused = 0x3fffc000c000c000;
  if (d >> 62 != 1 || start_of(d) & 0x380 || stride(d) % 1024 || d & kUnused)
    fail("wgmma: descriptor %#llx: want swizzled rows of 128 bytes, eight of them at a multiple of 1024", (unsigned long long)d);
}

// part makes this thread's part of a product: rows g and g+8 of its warp's 16, two columns of
// each eighth.
template <class T, int N> EMU_UNCHECKED void part(const Product &p) {
  constexpr int kColumns = N / 4;
  int t = m.now->tid % 128, row = t / 32 * 16 + t % 32 / 4, column = t % 4 * 2;
  float a[2][16], b[16][(kColumns + 3) / 4 * 4] = {};
  if (p.own)
    quad16<T>(a, p);
  else if (p.across_a)
    column16<T>(a[0], p.a, row), column16<T>(a[1], p.a, row + 8);
  else
    row16<T>(a[0], p.a, row), row16<T>(a[1], p.a, row + 8);
  if (p.across)
    for (int k = 0; k < 16; k++)
      columns16<T, N>(b[k], p.b, k, column);
  else
    for (int n = 0; n < kColumns; n++) {
      float one[16];
      row16<T>(one, p.b, n / 2 * 8 + column + n % 2);
      for (int k = 0; k < 16; k++)
        b[k][n] = one[k];
    }
  for (int h = 0; h < 2; h++)
    for (int n = 0; n < kColumns; n += 4) {
      f32x4 sum = _mm_setzero_ps();
      for (int k = 0; k < 16; k++)
        sum += _mm_set1_ps(a[h][k]) * _mm_loadu_ps(&b[k][n]);
      for (int i = 0; i < 4 && n + i < kColumns; i++) {
        float &d = p.d[(n + i) / 2 * 4 + h * 2 + i % 2];
        d = (p.first ? 0 : d) + sum[i];
      }
    }
}

inline Product &started(Product p) {
  Fiber &f = *m.now;
  if (!f.fenced)
    fail("wgmma: thread %d did not fence its registers", f.tid);
  if (f.products == sizeof f.started / sizeof f.started[0])
    fail("wgmma: too many products under way");
  f.issued = (f.issued ^ p.a ^ p.b << 20) * 0x9e3779b97f4a7c15u + 1;
  p.group = f.open;
  return f.started[f.products++] = p;
}

inline void wgmma(float *d, uint64_t a, uint64_t b, bool first, bool across_a, void (*run)(const Product &)) {
  described(a), described(b);
  if (across_a && start_of(a) % 1024)
    fail("wgmma: descriptor %#llx: want an operand that lies across to begin with eight rows", (unsigned long long)a);
  started({run, d, a, b, 0, first, false, across_a, nullptr, {}});
}

inline void wgmma_rs_mn_major(float *d, const uint32_t (&a)[4], uint64_t b, void (*run)(const Product &)) {
  described(b);
  if (start_of(b) % 1024 || leading(b) % 1024)
    fail("wgmma: descriptor %#llx: want an operand that lies across to begin with eight rows", (unsigned long long)b);
  Product &p = started({run, d, 0, b, 0, false, true, false, a, {}});
  Warp &w = warp();
  int me = lane();
  memcpy(w.in[me], a, 16);
  meet("wgmma", [](Warp &w) {
    for (int l = 0; l < 32; l++)
      memcpy(w.out[l], w.in[l], 16);
  });
  memcpy(p.quad, w.out[me / 4 * 4], sizeof p.quad);
}

// finish runs the products of groups before one.
inline void finish(int group) {
  Fiber &f = *m.now;
  int n = 0;
  while (n < f.products && f.started[n].group < group) {
    f.started[n].run(f.started[n]);
    n++;
  }
  f.products -= n;
  memmove(f.started, f.started + n, f.products * sizeof f.started[0]);
}

} // namespace emu

#define TENSOR_MAP_PARAM(kernel, index, variable) (&variable)

namespace ptx {

void cluster_sync();
void warpgroup_sync();
__device__ __forceinline__ void stmatrix_trans(void *column, const u32 (&r)[4]) { emu::stmatrix_trans(column, r); }
__device__ __forceinline__ int cluster_ctarank() { return emu::m.now->block->rank; }
__device__ __forceinline__ u32 shared_address(const void *p) { return emu::offset(p); }

__device__ __forceinline__ void mbarrier_init(u64 *b, int count) {
  emu::Block &block = *emu::m.now->block;
  if ((uintptr_t)b % 8 || emu::offset(b) + 8 > emu::m.shared_bytes)
    emu::fail("mbarrier.init: %#x is no place for a barrier", emu::offset(b));
  if (emu::barrier_at(block, emu::offset(b)) || block.barriers == sizeof block.barrier / sizeof block.barrier[0])
    emu::fail("mbarrier.init: there is a barrier at %#x, or there are too many", emu::offset(b));
  block.barrier[block.barriers++] = {emu::offset(b), count, count, 0, 0, {}};
}
__device__ __forceinline__ void fence_mbarrier_init() {}
__device__ __forceinline__ void mbarrier_arrive_expect_tx(u64 *b, int bytes) {
  emu::Barrier &barrier = emu::barrier(*emu::m.now->block, b);
  barrier.bytes += bytes;
  emu::arrived(barrier);
}
__device__ __forceinline__ void mbarrier_arrive(u64 *b) { emu::arrived(emu::barrier(*emu::m.now->block, b)); }
__device__ __forceinline__ void mbarrier_arrive_cluster(u64 *b, int rank) {
  if (rank < 0 || rank >= emu::m.cluster)
    emu::fail("mbarrier.arrive: block %d of a cluster of %d", rank, emu::m.cluster);
  if (!emu::m.blocks[rank].live)
    emu::fail("mbarrier.arrive: block %d of the cluster has ended", rank);
  emu::Barrier *barrier = emu::barrier_at(emu::m.blocks[rank], emu::offset(b));
  if (!barrier)
    emu::fail("mbarrier.arrive: no barrier was made at %#x of block %d", emu::offset(b), rank);
  emu::arrived(*barrier);
}
__device__ __forceinline__ void mbarrier_wait_parity(u64 *b, int parity) {
  emu::Fiber &f = *emu::m.now;
  emu::Barrier &barrier = emu::barrier(*f.block, b);
  while ((int)(barrier.phase & 1) == parity) {
    f.waits = &barrier, f.parity = parity;
    barrier.waiting[(emu::m.now - emu::m.fibers) / 32] |= 1u << emu::lane();
    emu::warp().runnable &= ~(1u << emu::lane());
    emu::to_scheduler();
    f.waits = nullptr;
  }
}

__device__ __forceinline__ void tma_load(void *to, const TensorMap *map, int c0, int c1, int c2, u64 *b) {
  emu::load_box(1 << emu::m.now->block->rank, to, map, c0, c1, c2, b);
}
__device__ __forceinline__ void tma_load_multicast(int mask, void *to, const TensorMap *map, int c0, int c1, int c2, u64 *b) {
  emu::load_box(mask, to, map, c0, c1, c2, b);
}

__device__ __forceinline__ void cp_async_bulk(void *to, const void *from, int bytes, u64 *b) { emu::copy(to, from, bytes, b); }
__device__ __forceinline__ void cp_async_bulk_evict_first(void *to, const void *from, int bytes, u64 *b) { emu::copy(to, from, bytes, b); }
__device__ __forceinline__ void prefetch_l2(const void *from, int bytes) {
  if ((uintptr_t)from % 16 || bytes % 16)
    emu::fail("cp.async.bulk.prefetch: thread %d: %d bytes from %p: want multiples of 16", emu::m.now->tid, bytes, from);
}
template <int Threads> __device__ __forceinline__ void named_barrier_sync() { emu::sync_first(Threads); }

template <int N> __device__ __forceinline__ void setmaxnreg_dec() {}
template <int N> __device__ __forceinline__ void setmaxnreg_inc() {}

__device__ __forceinline__ void wgmma_fence() { emu::m.now->fenced = true; }
__device__ __forceinline__ void wgmma_commit() {
  emu::m.now->open++;
  if (emu::draw() & 1)
    emu::finish(emu::m.now->open);
}
// wgmma_wait, as wgmma.wait_group is, is a rendezvous of the warp: what one lane tells
// after it is so of all.
template <int N> __device__ __forceinline__ void wgmma_wait() {
  emu::finish(emu::m.now->open - N);
  emu::meet("wgmma.wait_group", [](emu::Warp &) {});
  if (N == 0)
    emu::m.now->fenced = false;
}
template <int N> __device__ __forceinline__ void warpgroup_fence_operand(float (&)[N]) {}
template <int N> __device__ __forceinline__ void warpgroup_fence_operand(u32 (&)[N]) {}
__device__ __forceinline__ void fence_proxy_async() { emu::m.now->proxies++; }
#define WGMMA(type)                                                                                                                                  \
  template <int N> void run_##type(const emu::Product &p) { emu::part<emu::type##_bits, 2 * N>(p); }                                                 \
  template <int N> __device__ __forceinline__ void wgmma_##type(float (&d)[N], u64 a, u64 b) { emu::wgmma(d, a, b, false, false, run_##type<N>); }   \
  template <int N> __device__ __forceinline__ void wgmma_mn_major_a_##type(float (&d)[N], u64 a, u64 b) { emu::wgmma(d, a, b, false, true, run_##type<N>); } \
  template <int N> __device__ __forceinline__ void wgmma_overwrite_##type(float (&d)[N], u64 a, u64 b) { emu::wgmma(d, a, b, true, false, run_##type<N>); } \
  template <int N> __device__ __forceinline__ void wgmma_rs_mn_major_##type(float (&d)[N], const u32 (&a)[4], u64 b) {                               \
    emu::wgmma_rs_mn_major(d, a, b, run_##type<N>);                                                                                                  \
  }
WGMMA(bf16)
WGMMA(f16)
} // namespace ptx
