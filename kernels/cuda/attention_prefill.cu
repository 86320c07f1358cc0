// Prefill attention: a[n,h] = softmax(q[n,h] . keys / sqrt(Dh)) values, causal, for many rows n of
// a sequence at a time. Head h reads KV head h/(H/K).
//
//   q, a [N, H*Dh] 16-bit; KV cache pages of 64 positions (types.cuh)
//   queries [tiles]: up to 64 consecutive rows of one sequence each
//
// attention_prefill_64, _128: grid (tiles, H), 128 threads; a warp has 16 queries. Pages of keys
// and values are copied while the page before is used. Online softmax; the weights are rounded
// to 16 bits for the second product. Head sizes up to Width; columns past the head's own size
// are zero. Compute-bound: 2*T*T*Dh flops per head.
// attention_prefill_wgmma* (sm_90a): tiles of up to 128 rows, persistent blocks of 512 threads.
// See attention_prefill_wgmma.cuh.
//
// Versions, 32 heads of 128 on an H100 (docs/performance/attention.md):
//   mma.sync, this file                           2048 tokens 200 us, 8192 tokens 2131 us
//   wgmma, three copying warps                    91 us, 1148 us
//   wgmma, eight copying warps, one stream of steps over a block's tiles   80 us, 1110 us
#include "attention_prefill.cuh"

#if !defined(HOPPER) || defined(CUEMU)
// HalfPages has the pages of a cache of 16 bits (attention_prefill.cuh), two in turn.
template <class T, int Width> struct HalfPages {
  using Cache = KVCache;
  const KVCache &cache;
  u16 *kv; // two of keys [64, Width], values [64, Width]
  __device__ __forceinline__ void copy(int seq, int kh, int page, int end) const {
    constexpr int kChunks = Width / 8;
    u16 *to = kv + page % 2 * 2 * kPageSize * Width;
    const u16 *keys = cache.key({seq, page * kPageSize}, kh);
    for (int i = threadIdx.x; i < kPageSize * kChunks; i += 128) {
      int p = i / kChunks, c = i % kChunks;
      bool in = page * kPageSize + p < end && c * 8 < cache.Dp;
      const u16 *from = in ? keys + p * cache.K * cache.Dp + c * 8 : keys;
      ptx::cp_async(turned<Width>(to, p, c), from, in);
      ptx::cp_async(turned<Width>(to + kPageSize * Width, p, c), from + cache.values(), in);
    }
  }
  __device__ __forceinline__ u16 *keys(int page, int end) const { return kv + page % 2 * 2 * kPageSize * Width; }
};

#define ATTENTION_PREFILL(T, name, width)                                                                     \
  extern "C" __global__ void __launch_bounds__(128, 2)                                                        \
      attention_prefill_##width##_##name(u16 *a, int lda, const u16 *q, int ldq, const u64 *table, int pages, \
                                         const Queries *queries, int H, int K, int Dh, float scale) {         \
    attention_prefill<T, width, HalfPages<T, width>>(a, lda, q, ldq, {table, pages, K, Dh + 7 & ~7}, queries, \
                                                     H, Dh, scale);                                           \
  }
ATTENTION_PREFILL(BF16, bf16, 64)
ATTENTION_PREFILL(F16, f16, 64)
ATTENTION_PREFILL(BF16, bf16, 128)
ATTENTION_PREFILL(F16, f16, 128)
#endif

#ifdef HOPPER
#define ATTENTION_PREFILL_WGMMA(T, name, width)                                                                       \
  extern "C" __global__ void __launch_bounds__(512, 1)                                                                \
      attention_prefill_wgmma##width##_##name(u16 *a, int lda, const u16 *q, int ldq, const u64 *table, int pages,    \
                                              const Queries *queries, int tiles, int H, int K, int Dh, float scale) { \
    const AttentionSmem<width> my;                                                                                    \
    if (threadIdx.x == 0) {                                                                                           \
      for (int s = 0; s < my.kSlots; s++) {                                                                           \
        ptx::mbarrier_init(my.full + s, 4);                                                                           \
        ptx::mbarrier_init(my.empty + s, 8);                                                                          \
      }                                                                                                               \
      for (int i = 0; i < 2; i++) {                                                                                   \
        ptx::mbarrier_init(my.queries_full + i, 8);                                                                   \
        ptx::mbarrier_init(my.queries_free + i, 8);                                                                   \
        ptx::mbarrier_init(my.order + i, 4);                                                                          \
      }                                                                                                               \
    }                                                                                                                 \
    __syncthreads();                                                                                                  \
    cudaGridDependencySynchronize();                                                                                  \
    cudaTriggerProgrammaticLaunchCompletion();                                                                        \
    if (threadIdx.x < 256) {                                                                                          \
      ptx::setmaxnreg_inc<208>();                                                                                     \
      compute_tiles<T, width>(my, a, lda, queries, tiles, H, Dh, scale);                                              \
    } else {                                                                                                          \
      ptx::setmaxnreg_dec<48>();                                                                                      \
      load_tiles(my, threadIdx.x / 32 - 8, q, ldq, {table, pages, K, Dh + 7 & ~7}, queries, tiles, H, Dh);            \
    }                                                                                                                 \
  }
ATTENTION_PREFILL_WGMMA(BF16, bf16, 64)
ATTENTION_PREFILL_WGMMA(F16, f16, 64)
ATTENTION_PREFILL_WGMMA(BF16, bf16, 128)
ATTENTION_PREFILL_WGMMA(F16, f16, 128)
#endif
