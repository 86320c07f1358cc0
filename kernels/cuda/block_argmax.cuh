// The largest of many values, in a fixed order.
#pragma once
#include "types.cuh"

// Best is a value and its index; of equal values the lowest index.
struct Best {
  float value;
  int index;
};
static __device__ __forceinline__ Best better(Best a, Best b) {
  return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}
static __device__ __forceinline__ Best warp_best(Best b) {
#pragma unroll
  for (int m = 16; m > 0; m >>= 1)
    b = better(b, {__shfl_xor_sync(0xffffffff, b.value, m), (int)__shfl_xor_sync(0xffffffff, (u32)b.index, m)});
  return b;
}
template <int Warps> static __device__ __forceinline__ Best block_best(Best b, Best *scratch) {
  b = warp_best(b);
  if (threadIdx.x % 32 == 0)
    scratch[threadIdx.x / 32] = b;
  __syncthreads();
  b = scratch[0];
#pragma unroll
  for (int w = 1; w < Warps; w++)
    b = better(b, scratch[w]);
  __syncthreads();
  return b;
}
// row_best: the largest of z [C], with the index counted from base.
template <int Warps> static __device__ __forceinline__ Best row_best(const float *z, int C, int base) {
  Best b = {-kInf, base};
  for (int i = threadIdx.x; i < C; i += 32 * Warps)
    if (z[i] > b.value)
      b = {z[i], base + i};
  return block_best<Warps>(b, (Best *)smem);
}
