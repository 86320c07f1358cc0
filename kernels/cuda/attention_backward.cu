// The gradients of attention. Probabilities are recomputed from the log-sum-exp:
//   p = exp(q.k/sqrt(Dh) - stats), ds = p (a'.v - delta)/sqrt(Dh), delta = a.a'
//   q' = ds k, k' = ds^T q, v' = p^T a'
//
//   q, a, q', a' [N, H*Dh], k, v, k', v' [N, K*Dh], stats, delta [N, H], all f32
//
// attention_backward_delta: delta, one warp per row and head; grid (N), 128 threads.
// attention_backward_dq_64, _128: q'; grid (tiles of 64 queries, H), 128 threads, over tiles of
// 32 keys. attention_backward_dkv_64, _128: k' and v'; grid (tiles of 64 keys, K), over the
// group's heads in turn and tiles of 32 queries. Every sum has one owner and one order.
// tf32 products; compute-bound: 3*T*T*Dh and 4*T*T*Dh flops per query head.
// *_any: heads of any size, one block per row; slow.
//
// Versions: (1) more than 99 KiB of shared memory at heads of 128; (2) now: log-sum-exp and
// delta lie between the rows of the queries' tile, so that a block needs 101,376 bytes, which
// cards of compute capability 8.6, 8.9 and 12.0 have. Neither was measured alone.
#include "attention_train.cuh"

constexpr int kStep = 32; // rows of the side that a block walks over

extern "C" __global__ void __launch_bounds__(128, 1)
    attention_backward_delta(float *delta, int ldd, const float *a, int lda, const float *da, int ldda, int H, int Dh) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const long long n = blockIdx.x;
  const int lane = threadIdx.x % 32;
  for (int h = threadIdx.x / 32; h < H; h += 4) {
    float sum = 0;
    for (int c = lane; c < Dh; c += 32)
      sum += a[n * lda + h * Dh + c] * da[n * ldda + h * Dh + c];
    sum = warp_sum(sum);
    if (lane == 0)
      delta[n * ldd + h] = sum;
  }
}

template <int Width>
static __device__ __forceinline__ void
attention_backward_dq(float *dq, int lddq, const float *da, int ldda, const float *stats, int lds, const float *delta,
                      int ldd, const float *q, int ldq, const float *k, const float *v, int ldk,
                      const SequenceTile *tiles, int H, int K, int Dh, float scale) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  constexpr int P = kTilePitch<Width>;
  const SequenceTile my = tiles[blockIdx.x];
  const int h = blockIdx.y, kc = h / (H / K) * Dh, end = my.first + my.length;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  u32 *qs = (u32 *)smem, *ds = qs + kTileRows * P, *ks = ds + kTileRows * P, *vs = ks + kStep * P;
  load_tile<Width, kTileRows>(qs, q, ldq, my.first + my.at, end, h * Dh, Dh);
  load_tile<Width, kTileRows>(ds, da, ldda, my.first + my.at, end, h * Dh, Dh);
  const int row0 = my.at + warp * 16 + g; // position; the other is 8 on
  float lse[2] = {}, mean[2] = {};
#pragma unroll
  for (int i = 0; i < 2; i++)
    if (row0 + 8 * i < my.length) {
      lse[i] = stats[(long long)(my.first + row0 + 8 * i) * lds + h] * kLog2e;
      mean[i] = delta[(long long)(my.first + row0 + 8 * i) * ldd + h];
    }
  float o[Width / 8][4] = {};
  for (int at = 0; at < min(my.at + kTileRows, my.length); at += kStep) {
    __syncthreads();
    load_tile<Width, kStep>(ks, k, ldk, my.first + at, end, kc, Dh);
    load_tile<Width, kStep>(vs, v, ldk, my.first + at, end, kc, Dh);
    __syncthreads();
    float s[kStep / 8][4] = {}, dp[kStep / 8][4] = {};
    mma_nt<Width>(s, qs + warp * 16 * P, ks, Dh);
    mma_nt<Width>(dp, ds + warp * 16 * P, vs, Dh);
#pragma unroll
    for (int j = 0; j < kStep / 8; j++)
#pragma unroll
      for (int i = 0; i < 4; i++) { // a row past the span's end has no gradient and no score
        bool seen = at + 8 * j + 2 * t + i % 2 <= row0 + i / 2 * 8;
        s[j][i] = seen ? ptx::exp2(s[j][i] * (scale * kLog2e) - lse[i / 2]) * (dp[j][i] - mean[i / 2]) * scale : 0;
      }
    mma_nn<Width>(o, s, ks, Dh);
  }
  store_rows<Width>(o, dq, lddq, my.first + my.at + warp * 16, end, h * Dh, Dh,
                    [](float x, float y, int) { return float2{x, y}; });
}

template <int Width>
static __device__ __forceinline__ void
attention_backward_dkv(float *dk, float *dv, int lddk, const float *da, int ldda, const float *stats, int lds,
                       const float *delta, int ldd, const float *q, int ldq, const float *k, const float *v, int ldk,
                       const SequenceTile *tiles, int H, int K, int Dh, float scale) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  constexpr int P = kTilePitch<Width>;
  const SequenceTile my = tiles[blockIdx.x];
  const int kc = ptx::opaque(blockIdx.y) * Dh, group = H / K, end = my.first + my.length;
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, g = lane / 4, t = lane % 4;
  u32 *ks = (u32 *)smem, *vs = ks + kTileRows * P, *qs = vs + kTileRows * P, *ds = qs + kStep * P;
  float *past = (float *)qs + Width; // in what lies between the queries' rows: log sum exp, delta
  load_tile<Width, kTileRows>(ks, k, ldk, my.first + my.at, end, kc, Dh);
  load_tile<Width, kTileRows>(vs, v, ldk, my.first + my.at, end, kc, Dh);
  const int row0 = my.at + warp * 16 + g; // position of the key; the other is 8 on
  float ok[Width / 8][4] = {}, ov[Width / 8][4] = {};
  for (int h = blockIdx.y * group; h < blockIdx.y * group + group; h++)
    for (int at = my.at; at < my.length; at += kStep) {
      __syncthreads();
      load_tile<Width, kStep>(qs, q, ldq, my.first + at, end, h * Dh, Dh);
      load_tile<Width, kStep>(ds, da, ldda, my.first + at, end, h * Dh, Dh);
      if (tid < kStep) {
        const long long r = my.first + min(at + tid, my.length - 1);
        past[tid * P] = stats[r * lds + h] * kLog2e;
        past[tid * P + 1] = delta[r * ldd + h];
      }
      __syncthreads();
      float p[kStep / 8][4] = {}, dp[kStep / 8][4] = {};
      mma_nt<Width>(p, ks + warp * 16 * P, qs, Dh);
      mma_nt<Width>(dp, vs + warp * 16 * P, ds, Dh);
#pragma unroll
      for (int j = 0; j < kStep / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
          int query = 8 * j + 2 * t + i % 2;
          bool seen = row0 + i / 2 * 8 <= at + query && at + query < my.length;
          p[j][i] = seen ? ptx::exp2(p[j][i] * (scale * kLog2e) - past[query * P]) : 0;
          dp[j][i] = p[j][i] * (dp[j][i] - past[query * P + 1]) * scale;
        }
      mma_nn<Width>(ov, p, ds, Dh);
      mma_nn<Width>(ok, dp, qs, Dh);
    }
  auto set = [](float x, float y, int) { return float2{x, y}; };
  store_rows<Width>(ov, dv, lddk, my.first + my.at + warp * 16, end, kc, Dh, set);
  store_rows<Width>(ok, dk, lddk, my.first + my.at + warp * 16, end, kc, Dh, set);
}

#define ATTENTION_BACKWARD(width)                                                                                     \
  extern "C" __global__ void __launch_bounds__(128, 2) attention_backward_dq_##width(                                 \
      float *dq, int lddq, const float *da, int ldda, const float *stats, int lds, const float *delta, int ldd,       \
      const float *q, int ldq, const float *k, const float *v, int ldk, const SequenceTile *tiles, int H, int K,      \
      int Dh, float scale) {                                                                                          \
    if (Dh == width) /* known to the compiler */                                                                      \
      attention_backward_dq<width>(dq, lddq, da, ldda, stats, lds, delta, ldd, q, ldq, k, v, ldk, tiles, H, K, width, \
                                   scale);                                                                            \
    else                                                                                                              \
      attention_backward_dq<width>(dq, lddq, da, ldda, stats, lds, delta, ldd, q, ldq, k, v, ldk, tiles, H, K, Dh,    \
                                   scale);                                                                            \
  }                                                                                                                   \
  extern "C" __global__ void __launch_bounds__(128, 2) attention_backward_dkv_##width(                                \
      float *dk, float *dv, int lddk, const float *da, int ldda, const float *stats, int lds, const float *delta,     \
      int ldd, const float *q, int ldq, const float *k, const float *v, int ldk, const SequenceTile *tiles, int H,    \
      int K, int Dh, float scale) {                                                                                   \
    if (Dh == width)                                                                                                  \
      attention_backward_dkv<width>(dk, dv, lddk, da, ldda, stats, lds, delta, ldd, q, ldq, k, v, ldk, tiles, H, K,   \
                                    width, scale);                                                                    \
    else                                                                                                              \
      attention_backward_dkv<width>(dk, dv, lddk, da, ldda, stats, lds, delta, ldd, q, ldq, k, v, ldk, tiles, H, K,   \
                                    Dh, scale);                                                                       \
  }
ATTENTION_BACKWARD(64)
ATTENTION_BACKWARD(128)

extern "C" __global__ void __launch_bounds__(128, 1)
    attention_backward_dq_any(float *dq, int lddq, const float *da, int ldda, const float *stats, int lds,
                              const float *delta, int ldd, const float *q, int ldq, const float *k, const float *v,
                              int ldk, const int *positions, int H, int K, int Dh, float scale) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const int n = blockIdx.x, h = blockIdx.y, kc = h / (H / K) * Dh, tid = threadIdx.x, pos = positions[2 * n];
  if (pos < 0)
    return;
  float *ds = (float *)smem;
  const float *mine = q + (long long)n * ldq + h * Dh, *grad = da + (long long)n * ldda + h * Dh;
  const float lse = stats[(long long)n * lds + h] * kLog2e, mean = delta[(long long)n * ldd + h];
  float o[kAnyColumns] = {};
  for (int at = 0; at <= pos; at += 128) {
    const int count = min(128, pos + 1 - at);
    const long long first = (long long)(n - pos + at) * ldk + kc, own = first + (long long)tid * ldk;
    ds[tid] = tid < count ? ptx::exp2(head_dot(mine, k + own, Dh) * (scale * kLog2e) - lse) *
                                (head_dot(grad, v + own, Dh) - mean) * scale
                          : 0;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kAnyColumns; i++)
      if (int c = tid + 128 * i; c < Dh)
        for (int j = 0; j < count; j++)
          o[i] += ds[j] * k[first + (long long)j * ldk + c];
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kAnyColumns; i++)
    if (int c = tid + 128 * i; c < Dh)
      dq[(long long)n * lddq + h * Dh + c] = o[i];
}

extern "C" __global__ void __launch_bounds__(128, 1)
    attention_backward_dkv_any(float *dk, float *dv, int lddk, const float *da, int ldda, const float *stats, int lds,
                               const float *delta, int ldd, const float *q, int ldq, const float *k, const float *v,
                               int ldk, const int *positions, int H, int K, int Dh, float scale) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const int n = blockIdx.x, kc = blockIdx.y * Dh, group = H / K, tid = threadIdx.x, pos = positions[2 * n];
  if (pos < 0)
    return;
  const int later = positions[2 * n + 1] - pos; // queries that see the key
  float *p = (float *)smem, *ds = p + 128;
  const float *key = k + (long long)n * ldk + kc, *value = v + (long long)n * ldk + kc;
  float ok[kAnyColumns] = {}, ov[kAnyColumns] = {};
  for (int h = blockIdx.y * group; h < blockIdx.y * group + group; h++)
    for (int at = 0; at < later; at += 128) {
      const int count = min(128, later - at);
      const long long r = n + at + tid;
      p[tid] = tid < count
                   ? ptx::exp2(head_dot(q + r * ldq + h * Dh, key, Dh) * (scale * kLog2e) - stats[r * lds + h] * kLog2e)
                   : 0;
      ds[tid] = tid < count ? p[tid] * (head_dot(da + r * ldda + h * Dh, value, Dh) - delta[r * ldd + h]) * scale : 0;
      __syncthreads();
#pragma unroll
      for (int i = 0; i < kAnyColumns; i++)
        if (int c = tid + 128 * i; c < Dh)
          for (int j = 0; j < count; j++) {
            ok[i] += ds[j] * q[(long long)(n + at + j) * ldq + h * Dh + c];
            ov[i] += p[j] * da[(long long)(n + at + j) * ldda + h * Dh + c];
          }
      __syncthreads();
    }
#pragma unroll
  for (int i = 0; i < kAnyColumns; i++)
    if (int c = tid + 128 * i; c < Dh) {
      dk[(long long)n * lddk + kc + c] = ok[i];
      dv[(long long)n * lddk + kc + c] = ov[i];
    }
}
