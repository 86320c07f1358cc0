// Prefill attention over a KV cache at 8 bits (kv_i8.cuh): attention_prefill.cu's operation and
// parameters.
//
// attention_prefill_i8_64, _128: grid (tiles, H), 128 threads, on every set. The integers of a page
// and their scales are copied while the page before is used, and then become 16-bit numbers in shared
// memory, rounded once. Compute-bound: 2*T*T*Dh flops per head, and 2*T/64 conversions of an element.
//
// Versions: one, by mma.sync; not measured. wgmma would need more registers in the threads that copy
// (attention_prefill_wgmma.cuh) than are left.
#include "attention_prefill.cuh"
#include "kv_i8.cuh"

// Int8Pages has the pages of a cache of 8 bits (attention_prefill.cuh): the integers of two pages in
// turn, and the 16-bit numbers of one.
template <class T, int Width> struct Int8Pages {
  using Cache = KVCacheI8;
  static constexpr int kBytes = kPageSize * Width; // of the integers of keys, and of values
  const KVCacheI8 &cache;
  u16 *kv; // keys [64, Width], values [64, Width]; two of integers of both; two of scales of both [2, 64]
  __device__ __forceinline__ i8 *integers(int page) const {
    return (i8 *)(kv + 2 * kPageSize * Width) + page % 2 * 2 * kBytes;
  }
  __device__ __forceinline__ float *scales(int page) const {
    return (float *)(kv + 4 * kPageSize * Width) + page % 2 * 2 * kPageSize;
  }
  __device__ __forceinline__ void copy(int seq, int kh, int page, int end) const {
    constexpr int kChunks = Width / 16;
    i8 *to = integers(page);
    const i8 *part = cache.part({seq, page * kPageSize}, kh);
    for (int i = threadIdx.x; i < kPageSize * kChunks; i += 128) {
      int p = i / kChunks, c = i % kChunks;
      bool in = page * kPageSize + p < end && c * 16 < cache.Dp;
      const i8 *from = in ? part + p * cache.Dp + c * 16 : part;
      ptx::cp_async(to + i * 16, from, in);
      ptx::cp_async(to + kBytes + i * 16, from + cache.values(), in);
    }
    if (threadIdx.x < 2 * kPageSize / 4)
      ptx::cp_async(scales(page) + threadIdx.x * 4, part + cache.scales() + threadIdx.x * 16, true);
  }
  __device__ __forceinline__ u16 *keys(int page, int end) const {
    constexpr int kChunks = Width / 8;
    const i8 *from = integers(page);
    const float *scale = scales(page);
    for (int i = threadIdx.x; i < kPageSize * kChunks; i += 128) {
      const int p = i / kChunks;
      u16 *to = turned<Width>(kv, p, i % kChunks);
#pragma unroll
      for (int part = 0; part < 2; part++) // past end a scale may be anything
        ptx::st_shared(to + part * kPageSize * Width,
                       dequantize8<T>(*(const uint2 *)(from + part * kBytes + i * 8),
                                      page * kPageSize + p < end ? scale[part * kPageSize + p] : 0));
    }
    __syncthreads();
    return kv;
  }
};

#define ATTENTION_PREFILL_I8(T, name, width)                                                                     \
  extern "C" __global__ void __launch_bounds__(128, 2)                                                           \
      attention_prefill_i8_##width##_##name(u16 *a, int lda, const u16 *q, int ldq, const u64 *table, int pages, \
                                            const Queries *queries, int H, int K, int Dh, float scale) {         \
    attention_prefill<T, width, Int8Pages<T, width>>(a, lda, q, ldq, {table, pages, K, i8_row_pitch(Dh)},        \
                                                     queries, H, Dh, scale);                                     \
  }
ATTENTION_PREFILL_I8(BF16, bf16, 64)
ATTENTION_PREFILL_I8(F16, f16, 64)
ATTENTION_PREFILL_I8(BF16, bf16, 128)
ATTENTION_PREFILL_I8(F16, f16, 128)
