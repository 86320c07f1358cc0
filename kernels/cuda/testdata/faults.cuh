// A kernel of one product, right and with one fault each: what the emulation of barriers,
// boxes and wgmma must refuse, and what must show in its result.
#pragma once
#include "../wgmma.cuh"

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
};

template <int F> DEVICE void fault(const TensorMap *w, const TensorMap *x, float *y) {
  u16 *a = (u16 *)ptx::shared(), *b = a + 64 * 64;
  u64 *full = (u64 *)(b + 16 * 64);
  const int tid = ptx::tid();
  if (tid == 0 && F != kNoBarrier) {
    ptx::barrier_init(full, 1);
    ptx::barriers_made();
  }
  ptx::sync();
  if (tid == 0) {
    ptx::arrive_expect(full, (64 + 16) * 128 + (F == kFewBytes ? -1024 : F == kManyBytes ? 1024 : 0));
    ptx::load_box(F == kNotAligned ? a + 64 : a, F == kNotAMap ? (const TensorMap *)(y + 64 * 16) : w, 0, 0, 0, full);
    ptx::load_box(b, x, 0, 0, 0, full);
    if (F == kTwoArrivals)
      ptx::arrive_at(full, 0);
  }
  if (F != kNoWait && F != kLeft)
    ptx::wait_phase(full, F == kOtherPhase);
  float c[8] = {};
  if (F != kNoFence)
    ptx::wgmma_fence();
  for (int k = 0; k < 4; k++) {
    u64 operand = descriptor(F == kDescriptor ? a + 64 : F == kLeaves ? a + 32 * 64 : a) + (F == kAlone && tid / 32 == 2 ? 0 : 2 * k);
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
    ptx::wait_phase(full, 0);
}

// Two blocks of a cluster tell each other that they have come, and that they go.
template <bool Stays> DEVICE void pair_of_blocks() {
  u64 *come = (u64 *)ptx::shared(), *go = come + 1;
  if (ptx::tid() == 0) {
    ptx::barrier_init(come, 2);
    ptx::barrier_init(go, 1);
    ptx::barriers_made();
  }
  ptx::cluster_sync();
  if (ptx::tid() < 2)
    ptx::arrive_at(come, ptx::tid());
  ptx::wait_phase(come, 0);
  if (ptx::tid() == 0)
    ptx::arrive_at(go, 1 - ptx::cluster_rank());
  if (Stays)
    ptx::cluster_sync();
}
KERNEL(32, 1, blocks_stay, float *) { pair_of_blocks<true>(); }
KERNEL(32, 1, blocks_leave, float *) { pair_of_blocks<false>(); }

#define FAULT(f) \
  KERNEL(128, 1, fault_##f, TensorMap w, TensorMap x, float *y) { fault<f>(MAP(fault_##f, 0, w), MAP(fault_##f, 1, x), y); }
#define EACH_FAULT(M) \
  M(kRight) M(kFewBytes) M(kManyBytes) M(kTwoArrivals) M(kNoBarrier) M(kOtherPhase) M(kNoWait) M(kNotAligned) M(kNotAMap) M(kDescriptor) \
  M(kLeaves) M(kNoFence) M(kNoEnd) M(kReadEarly) M(kAlone) M(kLeft)
EACH_FAULT(FAULT)
