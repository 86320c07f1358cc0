// Appends keys and values to the KV cache at 8 bits: q = x / scale to the nearest integer,
// scale = max |x| / 127 of each head's row.
//
//   staged  keys and values of 16 bits, as qkv.cu writes them to a cache: row n of the pass is
//           position n of sequence 0 (types.cuh)
//   table [sequences, pages]  addresses of the pages at 8 bits (kv_i8.cuh)
//   positions [N]             sequence and position of each row
//
// append_kv_i8: a warp takes one row of one head's keys or values; grid: blocks of 256 threads over
// N * 2 * K rows. The integers and scales are those of device.QuantizeRow. Memory-bound: 3 bytes per
// element.
//
// gather_rope: y[n] = cos_sin[position of row n], so that qkv.cu finds at n what belongs to row n.
//   y [N, Dh/2], cos_sin [positions, Dh/2] cosine and sine; one block of 128 threads per row.
//   Memory-bound: 16 bytes per pair.
//
// Versions: one; not measured.
#include "kv_i8.cuh"

template <class T>
static __device__ __forceinline__ void append_kv_i8(const u64 *staged, KVCacheI8 cache, const SeqPosition *positions,
                                                    int Dh, int n) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const int lane = threadIdx.x % 32, at = blockIdx.x * 8 + threadIdx.x / 32, heads = 2 * cache.K;
  const int row = at / heads, head = at % heads % cache.K;
  const bool values = at % heads >= cache.K;
  if (row >= n)
    return;
  const KVCache from = {staged, 0, cache.K, Dh + 7 & ~7};
  const u16 *x = from.key({0, row}, head) + (values ? from.values() : 0);
  float most = 0, bad = 0;
  for (int i = lane; i < Dh; i += 32) {
    const float v = T::widen(x[i]);
    most = max(most, max(v, -v)), bad += v - v;
  }
  most = warp_max(most), bad = warp_sum(bad);
  const bool zero = most == 0 || bad != 0;
  const float scale = zero ? bad : max(most / 127, 1.4012985e-45f);
  const double inverse = zero ? 0 : 1 / (double)scale;
  const SeqPosition of = positions[row];
  i8 *part = cache.part(of, head), *to = part + (values ? cache.values() : 0) + of.pos % kPageSize * cache.Dp;
  for (int i = lane; i < cache.Dp; i += 32)
    to[i] = (i8)ptx::round_to_int(i < Dh && !zero ? T::widen(x[i]) * inverse : 0);
  if (lane == 0)
    ((float *)(part + cache.scales()))[(values ? kPageSize : 0) + of.pos % kPageSize] = scale;
}

#define APPEND_KV_I8(T, name)                                                                                     \
  extern "C" __global__ void __launch_bounds__(256, 1)                                                            \
      append_kv_i8_##name(const u64 *staged, const u64 *table, int pages, const SeqPosition *positions, int K, int Dh, \
                          int n) {                                                                                \
    append_kv_i8<T>(staged, {table, pages, K, i8_row_pitch(Dh)}, positions, Dh, n);                               \
  }
APPEND_KV_I8(BF16, bf16)
APPEND_KV_I8(F16, f16)

extern "C" __global__ void __launch_bounds__(128, 1)
    gather_rope(float2 *y, const float2 *cos_sin, const SeqPosition *positions, int half) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const float2 *from = cos_sin + (long long)positions[blockIdx.x].pos * half;
  float2 *to = y + (long long)blockIdx.x * half;
  for (int i = threadIdx.x; i < half; i += 128)
    to[i] = from[i];
}
