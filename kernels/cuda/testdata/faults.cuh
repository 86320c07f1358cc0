// A kernel of one product, right and with one fault each: what the emulation of barriers,
// TMA tiles and wgmma must refuse, and what must show in its result; and one of a pipeline of
// copied bytes.
#pragma once
#include "../gemm_wgmma.cuh"

enum Fault {
  kRight,
  kFewBytes,   // fewer are announced than come
  kManyBytes,  // more
  kTwoArrivals, // one more than the barrier counts
  kNoBarrier,  // it was not made
  kOtherPhase, // the wait is for the phase to come
  kNoWait,     // the product begins before its operands are there
  kNotAligned, // a box goes to where no eight rows begin
  kNotAMap,    // the map is not one
  kDescriptor, // an operand begins between two groups of eight rows
  kLeaves,     // an operand leaves the shared memory
  kNoFence,    // the registers were not fenced
  kNoEnd,      // the product is not waited for
  kReadEarly,  // its registers are read before that
  kAlone,      // one warp multiplies something else
  kLeft,       // a copy is never waited for
  kStored,     // threads write an operand themselves, and fence it: right
  kNotFenced,  // and do not
  kAcross,     // one operand is in registers, the other lies across: right
  kWritten,    // its registers are written before the product is waited for
  kWithin,     // the other begins within a row
};

// stored writes B anew.
__device__ __forceinline__ void stored(u16 *b, bool fenced) {
  uint4 *chunk = (uint4 *)b + threadIdx.x, v = *chunk;
  __syncthreads();
  ptx::st_shared(chunk, v);
  if (fenced)
    ptx::fence_proxy_async();
  __syncthreads();
}

// product_across is the product with A in registers and rows of k for B, in c.
template <int F> __device__ __forceinline__ void product_across(float (&d)[8], const u16 *a, const u16 *b, u16 *c) {
  auto element = [](const u16 *m, int row, int k) { return m[row * 64 + (k / 8 ^ row % 8) * 8 + k % 8]; };
  const int tid = threadIdx.x, k = tid / 2, chunk = tid % 2, row = tid / 32 * 16 + tid % 32 / 4, t = tid % 4;
  u32 two[4], left[4][4];
  for (int i = 0; i < 4; i++)
    two[i] = element(b, chunk * 8 + 2 * i, k) | (u32)element(b, chunk * 8 + 2 * i + 1, k) << 16;
  ptx::st_shared(c + k * 64 + (chunk ^ k % 8) * 8, {two[0], two[1], two[2], two[3]});
  ptx::fence_proxy_async();
  __syncthreads();
  for (int i = 0; i < 16; i++) {
    int r = row + i % 2 * 8, at = i / 4 * 16 + i / 2 % 2 * 8 + 2 * t;
    left[i / 4][i % 4] = element(a, r, at) | (u32)element(a, r, at + 1) << 16;
  }
  ptx::wgmma_fence();
  for (int i = 0; i < 4; i++)
    ptx::wgmma_rs_mn_major_bf16(d, left[i], across(c + i * 16 * 64 + (F == kWithin ? 8 : 0), 64 * 64));
  ptx::wgmma_commit();
  if (F == kWritten)
    left[3][0]++;
  ptx::wgmma_wait<0>();
}

template <int F> __device__ __forceinline__ void fault(const TensorMap *w, const TensorMap *x, float *y) {
  u16 *a = (u16 *)smem, *b = a + 64 * 64;
  u64 *full = (u64 *)(b + 16 * 64);
  const int tid = threadIdx.x;
  if (tid == 0 && F != kNoBarrier) {
    ptx::mbarrier_init(full, 1);
    ptx::fence_mbarrier_init();
  }
  __syncthreads();
  if (tid == 0) {
    ptx::mbarrier_arrive_expect_tx(full, (64 + 16) * 128 + (F == kFewBytes ? -1024 : F == kManyBytes ? 1024 : 0));
    ptx::tma_load(F == kNotAligned ? a + 64 : a, F == kNotAMap ? (const TensorMap *)(y + 64 * 16) : w, 0, 0, 0, full);
    ptx::tma_load(b, x, 0, 0, 0, full);
    if (F == kTwoArrivals)
      ptx::mbarrier_arrive_cluster(full, 0);
  }
  if (F != kNoWait && F != kLeft)
    ptx::mbarrier_wait_parity(full, F == kOtherPhase);
  float c[8] = {};
  if (F == kStored || F == kNotFenced)
    stored(b, F == kStored);
  if (F != kNoFence)
    ptx::wgmma_fence();
  if (F == kAcross || F == kWritten || F == kWithin)
    product_across<F>(c, a, b, a + 6 * 1024);
  else
    for (int k = 0; k < 4; k++) {
      u64 operand = descriptor(F == kDescriptor ? a + 64 : F == kLeaves ? a + 9 * 1024 : a) + (F == kAlone && tid / 32 == 2 ? 0 : 2 * k);
      ptx::wgmma_bf16(c, operand, descriptor(b) + 2 * k);
    }
  ptx::wgmma_commit();
  if (F != kReadEarly && F != kNoEnd)
    ptx::wgmma_wait<0>();
  const int row = tid / 32 * 16 + tid % 32 / 4, column = tid % 4 * 2;
  for (int i = 0; i < 8; i++)
    y[(row + i / 2 % 2 * 8) * 16 + i / 4 * 8 + column + i % 2] = c[i];
  if (F == kReadEarly)
    ptx::wgmma_wait<0>();
  if (F == kOtherPhase || F == kNoWait)
    ptx::mbarrier_wait_parity(full, 0);
}

// y[i][r] = 100 * r + i, i < 32: two warpgroups exchange it, each in its own memory, as in
// gemm_wgmma.cuh; warp w has r from 8*w on.
enum ExchangeFault {
  kExchangeRight,
  kExchangeNoWait, // results are read that may not be there
  kExchangeApart,  // columns begin where no 16 bytes do
  kExchangeAlone,  // a warp does not come to the barrier
};
template <int F> __device__ __forceinline__ void exchange_fault(float *y) {
  const int tid = threadIdx.x % 128, warp = tid / 32, lane = tid % 32, row = 8 * warp + lane / 4;
  u16 *results = (u16 *)smem + threadIdx.x / 128 * 32 * 32 + (F == kExchangeApart ? 4 : 0);
  u32 r[4];
  for (int j = 0; j < 4; j++)
    r[j] = (100 * row + 8 * j + lane % 4 * 2) * 0x10001u + 0x10000u;
  ptx::stmatrix_trans(results + lane * 32 + 8 * warp, r);
  if (F != kExchangeNoWait && (F != kExchangeAlone || warp < 3))
    ptx::warpgroup_sync();
  if (threadIdx.x < 128)
    for (int i = 0; i < 8; i++)
      y[8 * tid + i] = results[8 * tid + i];
}
#define EXCHANGE_FAULT(f)                                                                            \
  extern "C" __global__ void __launch_bounds__(256, 1) fault_##f(float *y) { exchange_fault<f>(y); } \
  KERNEL_ENTRY(fault_##f, 256)
#define EACH_EXCHANGE_FAULT(M) M(kExchangeRight) M(kExchangeNoWait) M(kExchangeApart) M(kExchangeAlone)
EACH_EXCHANGE_FAULT(EXCHANGE_FAULT)

// Two blocks of a cluster tell each other that they have come, and that they go.
template <bool Stays> __device__ __forceinline__ void pair_of_blocks() {
  u64 *come = (u64 *)smem, *go = come + 1;
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(come, 2);
    ptx::mbarrier_init(go, 1);
    ptx::fence_mbarrier_init();
  }
  ptx::cluster_sync();
  if (threadIdx.x < 2)
    ptx::mbarrier_arrive_cluster(come, threadIdx.x);
  ptx::mbarrier_wait_parity(come, 0);
  if (threadIdx.x == 0)
    ptx::mbarrier_arrive_cluster(go, 1 - ptx::cluster_ctarank());
  if (Stays)
    ptx::cluster_sync();
}
extern "C" __global__ void __launch_bounds__(32, 1) blocks_stay(float *) { pair_of_blocks<true>(); }
KERNEL_ENTRY(blocks_stay, 32)
extern "C" __global__ void __launch_bounds__(32, 1) blocks_leave(float *) { pair_of_blocks<false>(); }
KERNEL_ENTRY(blocks_leave, 32)

#define FAULT(f)                                                                                                                                                                            \
  extern "C" __global__ void __launch_bounds__(128, 1) fault_##f(TensorMap w, TensorMap x, float *y) { fault<f>(TENSOR_MAP_PARAM(fault_##f, 0, w), TENSOR_MAP_PARAM(fault_##f, 1, x), y); } \
  KERNEL_ENTRY(fault_##f, 128)
#define EACH_FAULT(M)                                                                                                                    \
  M(kRight) M(kFewBytes) M(kManyBytes) M(kTwoArrivals) M(kNoBarrier) M(kOtherPhase) M(kNoWait) M(kNotAligned) M(kNotAMap) M(kDescriptor) \
  M(kLeaves) M(kNoFence) M(kNoEnd) M(kReadEarly) M(kAlone) M(kLeft) M(kStored) M(kNotFenced)                                             \
  M(kAcross) M(kWritten) M(kWithin)
EACH_FAULT(FAULT)

// y[l] = sum of w[c][l] * x[l] over c < 12: a warp copies rows of w into a pipeline of two stages,
// another adds, as in pipeline.cuh.
enum PipelineFault {
  kPipelineRight,
  kPipelineNoEmptyWait, // a place is filled that was not read
  kPipelineFewBytes,    // fewer are announced than come
  kPipelineManyBytes,   // more
  kPipelineOneArrival,  // a place is given back by one thread of two
  kPipelineXEarly,      // x is read before it was staged
  kPipelineOdd,         // a copy of 24 bytes
  kPipelineShifted,     // one from where no 16 bytes begin
  kPipelineLeaves,      // one that leaves the shared memory
  kPipelineStranger,    // the copying warp comes to the barrier of the first
};
constexpr int kPipelineSteps = 12;

template <int F> __device__ __forceinline__ void pipeline_fault(const u32 *w, const u32 *x, u32 *y) {
  u32 *stages = (u32 *)smem, *xs = stages + 2 * 32;
  u64 *full = (u64 *)(xs + 32), *empty = full + 2;
  const int tid = threadIdx.x, lane = tid % 32;
  if (tid == 0) {
    for (int i = 0; i < 2; i++) {
      ptx::mbarrier_init(full + i, 1);
      ptx::mbarrier_init(empty + i, 2);
    }
    ptx::fence_mbarrier_init();
  }
  __syncthreads();
  if (tid >= 64) {
    for (int c = 0; c < kPipelineSteps; c++) {
      if (c > 1 && F != kPipelineNoEmptyWait)
        ptx::mbarrier_wait_parity(empty + c % 2, c / 2 - 1 & 1);
      if (lane == 0)
        ptx::mbarrier_arrive_expect_tx(full + c % 2, F == kPipelineFewBytes ? 112 : F == kPipelineManyBytes ? 144 : 128);
      __syncwarp();
      if (lane == 0)
        ptx::cp_async_bulk(F == kPipelineLeaves ? (u32 *)(empty + 2) : stages + c % 2 * 32, w + c * 32 + (F == kPipelineShifted), F == kPipelineOdd ? 24 : 128, full + c % 2);
    }
    if (F == kPipelineStranger)
      ptx::named_barrier_sync<64>();
    return;
  }
  // The second warp stages x for both, late.
  if (tid >= 32) {
    ptx::mbarrier_wait_parity(full, 0);
    xs[lane] = x[lane];
  }
  if (F != kPipelineXEarly)
    ptx::named_barrier_sync<64>();
  u32 sum = 0, factor = xs[lane];
  for (int c = 0; c < kPipelineSteps; c++) {
    ptx::mbarrier_wait_parity(full + c % 2, c / 2 & 1);
    sum += stages[c % 2 * 32 + lane] * factor;
    __syncwarp();
    if (lane == 0 && (F != kPipelineOneArrival || tid == 0))
      ptx::mbarrier_arrive(empty + c % 2);
  }
  if (tid < 32)
    y[lane] = sum;
}

#define PIPELINE_FAULT(f)                                                                                                           \
  extern "C" __global__ void __launch_bounds__(96, 1) fault_##f(const u32 *w, const u32 *x, u32 *y) { pipeline_fault<f>(w, x, y); } \
  KERNEL_ENTRY(fault_##f, 96)
#define EACH_PIPELINE_FAULT(M)                                                                                                           \
  M(kPipelineRight) M(kPipelineNoEmptyWait) M(kPipelineFewBytes) M(kPipelineManyBytes) M(kPipelineOneArrival) M(kPipelineXEarly) M(kPipelineOdd) M(kPipelineShifted) \
  M(kPipelineLeaves) M(kPipelineStranger)
EACH_PIPELINE_FAULT(PIPELINE_FAULT)
