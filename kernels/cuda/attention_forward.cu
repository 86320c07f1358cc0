// Attention of training: a[n,h] = softmax(q[n,h] . k / sqrt(Dh)) v, causal within the row's
// sequence, and stats[n,h] = log-sum-exp of the row's scores. Head h reads KV head h/(H/K).
//
//   q, a [N, H*Dh], k, v [N, K*Dh], stats [N, H], all f32
//
// attention_forward_64, _128: grid (tiles of 64 rows, H), 128 threads; a warp has 16 queries.
// Tiles of 64 keys, online softmax, tf32 products. Compute-bound: 2*T*T*Dh flops per head.
// attention_forward_any: heads of any size, grid (N, H), one block per row; slow.
//
// Versions: one; not measured alone.
#include "attention_train.cuh"

template <int Width>
static __device__ __forceinline__ void attention_forward(float *a, int lda, float *stats, int lds, const float *q,
                                                         int ldq, const float *k, const float *v, int ldk,
                                                         const SequenceTile *tiles, int H, int K, int Dh, float scale) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  constexpr int P = kTilePitch<Width>;
  const SequenceTile my = tiles[blockIdx.x];
  const int h = blockIdx.y, kc = h / (H / K) * Dh, end = my.first + my.length;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  u32 *qs = (u32 *)smem, *ks = qs + kTileRows * P, *vs = ks + kTileRows * P; // [64, P] each
  load_tile<Width, kTileRows>(qs, q, ldq, my.first + my.at, end, h * Dh, Dh);
  const int row0 = my.at + warp * 16 + g, row1 = row0 + 8; // positions
  float o[Width / 8][4] = {}, m0 = -kInf, m1 = -kInf, l0 = 0, l1 = 0;
  for (int at = 0; at < min(my.at + kTileRows, my.length); at += kTileRows) {
    __syncthreads();
    load_tile<Width, kTileRows>(ks, k, ldk, my.first + at, end, kc, Dh);
    load_tile<Width, kTileRows>(vs, v, ldk, my.first + at, end, kc, Dh);
    __syncthreads();
    float s[kTileRows / 8][4] = {};
    mma_nt<Width>(s, qs + warp * 16 * P, ks, Dh);
    float n0 = m0, n1 = m1;
#pragma unroll
    for (int j = 0; j < kTileRows / 8; j++) {
#pragma unroll
      for (int i = 0; i < 2; i++) {
        int p = at + 8 * j + 2 * t + i;
        s[j][i] = p <= row0 ? s[j][i] * scale : -kInf;
        s[j][i + 2] = p <= row1 ? s[j][i + 2] * scale : -kInf;
        n0 = max(n0, s[j][i]), n1 = max(n1, s[j][i + 2]);
      }
    }
    n0 = max(n0, __shfl_xor_sync(0xffffffff, n0, 1)), n0 = max(n0, __shfl_xor_sync(0xffffffff, n0, 2));
    n1 = max(n1, __shfl_xor_sync(0xffffffff, n1, 1)), n1 = max(n1, __shfl_xor_sync(0xffffffff, n1, 2));
    // Position 0 is in the first tile and seen by all: the maxima are finite.
    float r0 = ptx::exp2(m0 - n0), r1 = ptx::exp2(m1 - n1);
    m0 = n0, m1 = n1, l0 *= r0, l1 *= r1;
#pragma unroll
    for (int j = 0; j < Width / 8; j++)
      o[j][0] *= r0, o[j][1] *= r0, o[j][2] *= r1, o[j][3] *= r1;
#pragma unroll
    for (int j = 0; j < kTileRows / 8; j++) {
      s[j][0] = ptx::exp2(s[j][0] - m0), s[j][1] = ptx::exp2(s[j][1] - m0);
      s[j][2] = ptx::exp2(s[j][2] - m1), s[j][3] = ptx::exp2(s[j][3] - m1);
      l0 += s[j][0] + s[j][1], l1 += s[j][2] + s[j][3];
    }
    mma_nn<Width>(o, s, vs, Dh);
  }
  l0 += __shfl_xor_sync(0xffffffff, l0, 1), l0 += __shfl_xor_sync(0xffffffff, l0, 2);
  l1 += __shfl_xor_sync(0xffffffff, l1, 1), l1 += __shfl_xor_sync(0xffffffff, l1, 2);
  store_rows<Width>(o, a, lda, my.first + my.at + warp * 16, end, h * Dh, Dh, [&](float x, float y, int half) {
    return half ? float2{x / l1, y / l1} : float2{x / l0, y / l0};
  });
  if (t == 0) {
    if (row0 < my.length)
      stats[(long long)(my.first + row0) * lds + h] = (m0 + ptx::log2(l0)) / kLog2e;
    if (row1 < my.length)
      stats[(long long)(my.first + row1) * lds + h] = (m1 + ptx::log2(l1)) / kLog2e;
  }
}

#define ATTENTION_FORWARD(width)                                                                                  \
  extern "C" __global__ void __launch_bounds__(128, 2) attention_forward_##width(                                 \
      float *a, int lda, float *stats, int lds, const float *q, int ldq, const float *k, const float *v, int ldk, \
      const SequenceTile *tiles, int H, int K, int Dh, float scale) {                                             \
    if (Dh == width) /* known to the compiler */                                                                  \
      attention_forward<width>(a, lda, stats, lds, q, ldq, k, v, ldk, tiles, H, K, width, scale);                 \
    else                                                                                                          \
      attention_forward<width>(a, lda, stats, lds, q, ldq, k, v, ldk, tiles, H, K, Dh, scale);                    \
  }
ATTENTION_FORWARD(64)
ATTENTION_FORWARD(128)

static __device__ __forceinline__ float block_max(float v, float *scratch) {
  v = warp_max(v);
  if (threadIdx.x % 32 == 0)
    scratch[threadIdx.x / 32] = v;
  __syncthreads();
  v = max(max(scratch[0], scratch[1]), max(scratch[2], scratch[3]));
  __syncthreads();
  return v;
}

extern "C" __global__ void __launch_bounds__(128, 1)
    attention_forward_any(float *a, int lda, float *stats, int lds, const float *q, int ldq, const float *k,
                          const float *v, int ldk, const int *positions, int H, int K, int Dh, float scale) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const int n = blockIdx.x, h = blockIdx.y, kc = h / (H / K) * Dh, tid = threadIdx.x, pos = positions[2 * n];
  if (pos < 0)
    return;
  float *p = (float *)smem, *scratch = p + 128;
  const float *mine = q + (long long)n * ldq + h * Dh;
  float o[kAnyColumns] = {}, m = -kInf, l = 0;
  for (int at = 0; at <= pos; at += 128) {
    const int count = min(128, pos + 1 - at);
    const long long first = (long long)(n - pos + at) * ldk + kc;
    float s = tid < count ? head_dot(mine, k + first + (long long)tid * ldk, Dh) * scale : -kInf;
    float top = max(m, block_max(s, scratch)), r = ptx::exp2(m - top), e = ptx::exp2(s - top);
    m = top, l = l * r + block_sum<4>(e, scratch);
    p[tid] = e;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kAnyColumns; i++)
      if (int c = tid + 128 * i; c < Dh) {
        o[i] *= r;
        for (int j = 0; j < count; j++)
          o[i] += p[j] * v[first + (long long)j * ldk + c];
      }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kAnyColumns; i++)
    if (int c = tid + 128 * i; c < Dh)
      a[(long long)n * lda + h * Dh + c] = o[i] / l;
  if (tid == 0)
    stats[(long long)n * lds + h] = (m + ptx::log2(l)) / kLog2e;
}
