// Attention of a vision tower: a[n,h] = softmax(q[n,h] . keys / sqrt(Dh)) values, over all N rows.
//
//   qkv [N, 3*H*Dh] 16-bit: queries, keys and values side by side; a [N, H*Dh] 16-bit
//
// attention_bidirectional_64, _128: grid (tiles of 64 rows, H), 128 threads; a warp has 16 queries.
// Tiles of 64 keys and values are copied while the tile before is used. Online softmax; the weights
// are rounded to 16 bits for the second product. Head sizes up to Width; columns past the head's own
// size are zero. Compute-bound: 4*N*N*Dh flops per head.
//
// Versions: one, not measured. A tower of 577 rows and 16 heads has 160 blocks, and a tenth of its
// arithmetic here, so that there is no form for wgmma.
#include "types.cuh"

constexpr int kHeadTile = 64; // queries of a block, keys of a step

// HeadTile is 64 rows of one head in shared memory, [64, Width], chunks of 16 bytes turned by the
// row.
template <int Width> struct HeadTile {
  static constexpr int kChunks = Width / 8;
  u16 *p;
  __device__ __forceinline__ u16 *at(int row, int chunk) const { return p + row * Width + (chunk ^ row % 8) * 8; }
  // copy begins the copies of rows r0.. of the head at from; zeros past the last row and the
  // head's width. Heads that do not begin at a multiple of 16 bytes are copied at once.
  __device__ __forceinline__ void copy(const u16 *from, int ld, int r0, int n, int Dh) const {
    for (int i = threadIdx.x; i < kHeadTile * kChunks; i += 128) {
      const int r = i / kChunks, c = i % kChunks;
      const bool in = r0 + r < n && c * 8 < Dh;
      const u16 *x = from + (long long)(r0 + r) * ld + c * 8;
      if (Dh % 8 == 0)
        ptx::cp_async(at(r, c), in ? x : from, in);
      else
        for (int j = 0; j < 8; j++)
          at(r, c)[j] = in && c * 8 + j < Dh ? x[j] : 0;
    }
  }
};

template <class T, int Width>
static __device__ __forceinline__ void attention_bidirectional(u16 *a, int lda, const u16 *qkv, int ld, int n, int H,
                                                               int Dh, float scale) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int q0 = blockIdx.x * kHeadTile, h = blockIdx.y;
  const u16 *queries = qkv + h * Dh, *keys = queries + H * Dh, *values = keys + H * Dh;
  auto tile = [](int i) { return HeadTile<Width>{(u16 *)smem + i * kHeadTile * Width}; };
  const HeadTile<Width> qs = tile(0); // then two of keys and two of values, taken in turn
  auto copy = [&](int r0) {
    if (r0 < n) {
      tile(1 + r0 / kHeadTile % 2).copy(keys, ld, r0, n, Dh);
      tile(3 + r0 / kHeadTile % 2).copy(values, ld, r0, n, Dh);
    }
    ptx::cp_async_commit();
  };
  qs.copy(queries, ld, q0, n, Dh);
  ptx::cp_async_commit();
  copy(0);
  ptx::cp_async_wait<1>();
  __syncthreads();
  u32 fq[Width / 16][4];
#pragma unroll
  for (int k = 0; k < Width / 16; k++)
    ptx::ldmatrix(fq[k], qs.at(warp * 16 + lane % 16, 2 * k + lane / 16));

  float o[Width / 8][4] = {};
  float m0 = -kInf, m1 = -kInf, l0 = 0, l1 = 0;
  for (int r0 = 0; r0 < n; r0 += kHeadTile) {
    copy(r0 + kHeadTile);
    ptx::cp_async_wait<1>();
    __syncthreads();
    const HeadTile<Width> ks = tile(1 + r0 / kHeadTile % 2), vs = tile(3 + r0 / kHeadTile % 2);
    float s[kHeadTile / 8][4] = {};
#pragma unroll
    for (int k = 0; k < Width / 16; k++)
#pragma unroll
      for (int j = 0; j < kHeadTile / 16; j++) {
        u32 f[4];
        ptx::ldmatrix(f, ks.at(j * 16 + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
        T::mma(s[2 * j], fq[k][0], fq[k][1], fq[k][2], fq[k][3], f[0], f[1]);
        T::mma(s[2 * j + 1], fq[k][0], fq[k][1], fq[k][2], fq[k][3], f[2], f[3]);
      }
    float n0 = m0, n1 = m1;
#pragma unroll
    for (int j = 0; j < kHeadTile / 8; j++)
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const bool in = r0 + j * 8 + 2 * t + i < n;
        s[j][i] = in ? s[j][i] * scale : -kInf;
        s[j][i + 2] = in ? s[j][i + 2] * scale : -kInf;
        n0 = max(n0, s[j][i]), n1 = max(n1, s[j][i + 2]);
      }
    n0 = max(n0, __shfl_xor_sync(0xffffffff, n0, 1)), n0 = max(n0, __shfl_xor_sync(0xffffffff, n0, 2));
    n1 = max(n1, __shfl_xor_sync(0xffffffff, n1, 1)), n1 = max(n1, __shfl_xor_sync(0xffffffff, n1, 2));
    // The first tile has a key that every query sees: the maxima are finite.
    const float e0 = ptx::exp2(m0 - n0), e1 = ptx::exp2(m1 - n1);
    m0 = n0, m1 = n1, l0 *= e0, l1 *= e1;
#pragma unroll
    for (int j = 0; j < Width / 8; j++)
      o[j][0] *= e0, o[j][1] *= e0, o[j][2] *= e1, o[j][3] *= e1;
#pragma unroll
    for (int j = 0; j < kHeadTile / 8; j++) {
      s[j][0] = ptx::exp2(s[j][0] - m0), s[j][1] = ptx::exp2(s[j][1] - m0);
      s[j][2] = ptx::exp2(s[j][2] - m1), s[j][3] = ptx::exp2(s[j][3] - m1);
      l0 += s[j][0] + s[j][1], l1 += s[j][2] + s[j][3];
    }
#pragma unroll
    for (int k = 0; k < kHeadTile / 16; k++) {
      u32 w[4] = {T::pack(s[2 * k][0], s[2 * k][1]), T::pack(s[2 * k][2], s[2 * k][3]),
                  T::pack(s[2 * k + 1][0], s[2 * k + 1][1]), T::pack(s[2 * k + 1][2], s[2 * k + 1][3])};
#pragma unroll
      for (int j = 0; j < Width / 16; j++) {
        u32 f[4];
        ptx::ldmatrix_trans(f, vs.at(k * 16 + lane % 16, 2 * j + lane / 16));
        T::mma(o[2 * j], w[0], w[1], w[2], w[3], f[0], f[1]);
        T::mma(o[2 * j + 1], w[0], w[1], w[2], w[3], f[2], f[3]);
      }
    }
    __syncthreads();
  }
  ptx::cp_async_wait<0>();
  l0 += __shfl_xor_sync(0xffffffff, l0, 1), l0 += __shfl_xor_sync(0xffffffff, l0, 2);
  l1 += __shfl_xor_sync(0xffffffff, l1, 1), l1 += __shfl_xor_sync(0xffffffff, l1, 2);
  const int row = q0 + warp * 16 + g;
  u16 *a0 = a + (long long)row * lda + h * Dh, *a1 = a0 + 8LL * lda;
#pragma unroll
  for (int j = 0; j < Width / 8; j++)
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int d = j * 8 + 2 * t + i;
      if (d < Dh && row < n)
        a0[d] = narrow<T>(o[j][i] / l0);
      if (d < Dh && row + 8 < n)
        a1[d] = narrow<T>(o[j][i + 2] / l1);
    }
}

#define ATTENTION_BIDIRECTIONAL(T, name, width)                                                      \
  extern "C" __global__ void __launch_bounds__(128, 2) attention_bidirectional_##width##_##name(     \
      u16 *a, int lda, const u16 *qkv, int ld, int n, int H, int Dh, float scale) {                  \
    attention_bidirectional<T, width>(a, lda, qkv, ld, n, H, Dh, scale);                             \
  }
ATTENTION_BIDIRECTIONAL(BF16, bf16, 64)
ATTENTION_BIDIRECTIONAL(F16, f16, 64)
ATTENTION_BIDIRECTIONAL(BF16, bf16, 128)
ATTENTION_BIDIRECTIONAL(F16, f16, 128)
