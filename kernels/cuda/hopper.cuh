// Functions that only compute capability 9.0 has (sm_90a): mbarriers, copies of TMA tiles,
// clusters of blocks, and products of a warpgroup. ptx.cuh includes this file; in the host
// emulation, emu/hopper.h gives the same functions other bodies.
// PTX ISA sections: 9.7.9 (data movement), 9.7.13 (barriers), 9.7.15 (wgmma).
#pragma once

namespace ptx {

// A barrier in shared memory: a phase ends when count arrivals have come and as many
// bytes as were announced.
static __device__ __forceinline__ void mbarrier_init(u64 *b, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(count) : "memory");
}
// fence_mbarrier_init lets the cluster and the copies see barriers after the next cluster_sync
// or sync.
static __device__ __forceinline__ void fence_mbarrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
// mbarrier_arrive_expect_tx arrives, and announces bytes.
static __device__ __forceinline__ void mbarrier_arrive_expect_tx(u64 *b, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)), "r"(bytes)
               : "memory");
}
// mbarrier_arrive arrives. This thread's accesses of shared memory come before those of threads
// that wait for the phase.
static __device__ __forceinline__ void mbarrier_arrive(u64 *b) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
}
// mbarrier_arrive_cluster arrives at the barrier in the same place of a block of the cluster. Ordinary
// writes it orders for this block alone (.cluster would wait for them, in every step).
static __device__ __forceinline__ void mbarrier_arrive_cluster(u64 *b, int rank) {
  asm volatile("{.reg .b32 t; mapa.shared::cluster.u32 t, %0, %1; mbarrier.arrive.shared::cluster.b64 _, [t];}" ::"r"(
                   shared_address(b)),
               "r"(rank)
               : "memory");
}
// mbarrier_wait_parity returns when the phase of a parity has ended; the first has parity 0.
static __device__ __forceinline__ void mbarrier_wait_parity(u64 *b, int parity) {
  u32 done;
  do
    asm volatile("{.reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.b32 %0, 1, 0, p;}"
                 : "=r"(done)
                 : "r"(shared_address(b)), "r"(parity)
                 : "memory");
  while (!done);
}
// tma_load starts the copy of the box at (c0, c1, c2) to shared memory; what lies
// outside of the tensor arrives as zeros. The bytes of the box count for barrier b.
static __device__ __forceinline__ void tma_load(void *to, const TensorMap *map, int c0, int c1, int c2, u64 *b) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2,%3,%4}], [%5];" ::"r"(
          shared_address(to)),
      "l"(map), "r"(c0), "r"(c1), "r"(c2), "r"(shared_address(b))
      : "memory");
}
// tma_load_multicast copies to the same place of every block of the cluster in mask, and tells
// the barrier in the same place there.
static __device__ __forceinline__ void tma_load_multicast(int mask, void *to, const TensorMap *map, int c0, int c1,
                                                          int c2, u64 *b) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
               "[%1, {%2,%3,%4}], [%5], %6;" ::"r"(shared_address(to)),
               "l"(map), "r"(c0), "r"(c1), "r"(c2), "r"(shared_address(b)), "h"((u16)mask)
               : "memory");
}

// cp_async_bulk starts the copy of bytes of global memory to shared memory, multiples of 16 as
// both addresses are. They count for barrier b. cp_async_bulk_evict_first is for data that is not
// read again: L2 evicts it first.
static __device__ __forceinline__ void cp_async_bulk(void *to, const void *from, int bytes, u64 *b) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   shared_address(to)),
               "l"(from), "r"(bytes), "r"(shared_address(b))
               : "memory");
}
static __device__ __forceinline__ void cp_async_bulk_evict_first(void *to, const void *from, int bytes, u64 *b) {
  u64 first;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(first));
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::
          "r"(shared_address(to)),
      "l"(from), "r"(bytes), "r"(shared_address(b)), "l"(first)
      : "memory");
}
// prefetch_l2 asks L2 for bytes, a multiple of 16.
static __device__ __forceinline__ void prefetch_l2(const void *from, int bytes) {
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
}
// named_barrier_sync is a barrier of the block's first Threads, the others are not waited for.
template <int Threads> static __device__ __forceinline__ void named_barrier_sync() {
  asm volatile("bar.sync 1, %0;" ::"n"(Threads) : "memory");
}
// warpgroup_sync is a barrier of a warpgroup's 128 threads.
static __device__ __forceinline__ void warpgroup_sync() {
  asm volatile("bar.sync %0, 128;" ::"r"(1 + threadIdx.x / 128) : "memory");
}
// stmatrix_trans writes four 8x8 matrices of 16-bit elements, of which a lane has two
// neighbours of a row as in mma's sums: their columns, to the addresses of lanes 0-7,
// 8-15, 16-23, 24-31.
static __device__ __forceinline__ void stmatrix_trans(void *column, const u32 (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(shared_address(column)),
               "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
}

static __device__ __forceinline__ int cluster_ctarank() {
  u32 r;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
  return r;
}
// cluster_sync is a barrier of all threads of the cluster's blocks.
static __device__ __forceinline__ void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release; barrier.cluster.wait.acquire;" ::: "memory");
}

// Warpgroups take other numbers of registers than the kernel was started with: all of
// their threads say so.
template <int N> static __device__ __forceinline__ void setmaxnreg_dec() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N> static __device__ __forceinline__ void setmaxnreg_inc() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

// fence_proxy_async lets products read what this thread wrote to shared memory, itself or by
// copies of 16 bytes.
static __device__ __forceinline__ void fence_proxy_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// wgmma: D[64, N] += A[64, 16] B[N, 16], D float32, A and B in shared memory where
// descriptors say, by 128 threads, until wgmma_wait. Warp w of them holds rows 16w..;
// with g = lane/4, t = lane%4: d[4j], d[4j+1] (g, 8j+2t..), d[4j+2], d[4j+3] (g+8, 8j+2t..).
// wgmma_mn_major_a: A lies across, 16 rows of 64 elements of M, its next eight rows of k a stride on.
// wgmma_overwrite leaves out what D was. wgmma_rs_mn_major takes A from registers, as mma does, of
// rows 16w.. in warp w; B lies across: 16 rows of N elements. Until wgmma_wait the
// registers of A stay as they are.
static __device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
static __device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// wgmma_wait returns when at most N of the groups are under way.
template <int N> static __device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}
// warpgroup_fence_operand keeps the compiler from reading or writing d on the other side of it.
template <int N> static __device__ __forceinline__ void warpgroup_fence_operand(float (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++)
    asm volatile("" : "+f"(d[i])::"memory");
}
template <int N> static __device__ __forceinline__ void warpgroup_fence_operand(u32 (&a)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++)
    asm volatile("" : "+r"(a[i])::"memory");
}

// Ten register operands, and lists of 8 to 128 of them; and what they stand for.
#define WGMMA_TEN(t) "%" #t "0,%" #t "1,%" #t "2,%" #t "3,%" #t "4,%" #t "5,%" #t "6,%" #t "7,%" #t "8,%" #t "9"
#define WGMMA_SIXTY WGMMA_TEN() "," WGMMA_TEN(1) "," WGMMA_TEN(2) "," WGMMA_TEN(3) "," WGMMA_TEN(4) "," WGMMA_TEN(5)
#define WGMMA_LIST_16 "%0,%1,%2,%3,%4,%5,%6,%7"
#define WGMMA_LIST_32 WGMMA_TEN() ",%10,%11,%12,%13,%14,%15"
#define WGMMA_LIST_64 WGMMA_TEN() "," WGMMA_TEN(1) "," WGMMA_TEN(2) ",%30,%31"
#define WGMMA_LIST_128 WGMMA_SIXTY ",%60,%61,%62,%63"
#define WGMMA_LIST_256                                                                                             \
  WGMMA_SIXTY "," WGMMA_TEN(6) "," WGMMA_TEN(7) "," WGMMA_TEN(8) "," WGMMA_TEN(9) "," WGMMA_TEN(10) "," WGMMA_TEN( \
      11) ",%120,%121,%122,%123,%124,%125,%126,%127"
#define WGMMA_D(c, i) c(d[i]), c(d[i + 1]), c(d[i + 2]), c(d[i + 3]), c(d[i + 4]), c(d[i + 5]), c(d[i + 6]), c(d[i + 7])
#define WGMMA_D16(c, i) WGMMA_D(c, i)
#define WGMMA_D32(c, i) WGMMA_D16(c, i), WGMMA_D16(c, i + 8)
#define WGMMA_D64(c, i) WGMMA_D32(c, i), WGMMA_D32(c, i + 16)
#define WGMMA_D128(c, i) WGMMA_D64(c, i), WGMMA_D64(c, i + 32)
#define WGMMA_D256(c, i) WGMMA_D128(c, i), WGMMA_D128(c, i + 64)
#define WGMMA_TEXT(type, n, factors) \
  "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." #type "." #type " {" WGMMA_LIST_##n "}, " factors ";"
#define WGMMA(name, type, n, sums, a, b, factors)                                          \
  static __device__ __forceinline__ void name##_##type(float(&d)[n / 2], u64 da, u64 db) { \
    asm volatile(WGMMA_TEXT(type, n, "%" #a ", %" #b ", " factors)                         \
                 : WGMMA_D##n(sums, 0)                                                     \
                 : "l"(da), "l"(db)                                                        \
                 : "memory");                                                              \
  }
#define WGMMA_FORMS(type, n, a, b)                             \
  WGMMA(wgmma, type, n, "+f", a, b, "1, 1, 1, 0, 0")           \
  WGMMA(wgmma_overwrite, type, n, "=f", a, b, "0, 1, 1, 0, 0") \
  WGMMA(wgmma_mn_major_a, type, n, "+f", a, b, "1, 1, 1, 1, 0")
#define WGMMA_ACROSS(type, n, a0, a1, a2, a3, b)                                                                \
  static __device__ __forceinline__ void wgmma_rs_mn_major_##type(float(&d)[n / 2], const u32(&a)[4], u64 db) { \
    asm volatile(WGMMA_TEXT(type, n, "{%" #a0 ",%" #a1 ",%" #a2 ",%" #a3 "}, %" #b ", 1, 1, 1, 1")              \
                 : WGMMA_D##n("+f", 0)                                                                          \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(db)                                          \
                 : "memory");                                                                                   \
  }
#define WGMMA_ALL(type)                      \
  WGMMA_FORMS(type, 16, 8, 9)                \
  WGMMA_FORMS(type, 32, 16, 17)              \
  WGMMA_FORMS(type, 64, 32, 33)              \
  WGMMA_FORMS(type, 128, 64, 65)             \
  WGMMA_FORMS(type, 256, 128, 129)           \
  WGMMA_ACROSS(type, 64, 32, 33, 34, 35, 36) \
  WGMMA_ACROSS(type, 128, 64, 65, 66, 67, 68)
WGMMA_ALL(bf16)
WGMMA_ALL(f16)

} // namespace ptx
