// Prefill attention by mma.sync, whatever the type of the KV cache (attention_prefill.cu,
// attention_prefill_i8.cu): tiles of 64 queries, a page of keys and values at a time.
//
// Pages<T, Width> has keys and values in shared memory:
//   Cache           where the pages are
//   copy            starts the copy of a page, of which positions before end are read
//   keys            keys [64, Width] of a page that has been copied, its values behind them, both with
//                   chunks of 16 bytes turned by the row; all threads meet before it and use it after
#pragma once
#include "attention_prefill_wgmma.cuh"

// turned returns where a chunk of eight columns of a row lies, so that rows fall on different banks.
template <int Width> static __device__ __forceinline__ u16 *turned(u16 *m, int row, int chunk) {
  return m + row * Width + (chunk ^ row % 8) * 8;
}

template <class T, int Width, class Pages>
static __device__ __forceinline__ void attention_prefill(u16 *a, int lda, const u16 *q, int ldq,
                                                         typename Pages::Cache cache, const Queries *queries, int H,
                                                         int Dh, float scale) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  constexpr int kChunks = Width / 8;
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, g = lane / 4, t = lane % 4;
  const Queries my = queries[blockIdx.x];
  const int h = blockIdx.y, kh = h / (H / cache.K);
  u16 *qs = (u16 *)smem; // [64, Width], chunks turned by the row
  const Pages kv = {cache, qs + kPageSize * Width};

  const int end = my.pos + my.count, pages = ceil_div(end, kPageSize);
  auto copy = [&](int page) {
    if (page < pages)
      kv.copy(my.seq, kh, page, end);
    ptx::cp_async_commit();
  };
  copy(0);

  for (int i = tid; i < kPageSize * kChunks; i += 128) {
    int r = i / kChunks, c = i % kChunks;
    u16 *to = turned<Width>(qs, r, c);
    const u16 *from = q + (long long)(my.row + r) * ldq + h * Dh + c * 8;
    bool in = r < my.count;
    if (in && Dh % 8 == 0 && c * 8 < Dh) {
      *(uint4 *)to = ptx::ld_global(from);
      continue;
    }
    for (int j = 0; j < 8; j++)
      to[j] = in && c * 8 + j < Dh ? from[j] : 0;
  }
  __syncthreads();
  u32 fq[Width / 16][4];
#pragma unroll
  for (int k = 0; k < Width / 16; k++)
    ptx::ldmatrix(fq[k], turned<Width>(qs, warp * 16 + lane % 16, 2 * k + lane / 16));

  // A row past the tile's count repeats the last one's position: it is not written.
  const int at0 = my.pos + min(warp * 16 + g, my.count - 1), at1 = my.pos + min(warp * 16 + g + 8, my.count - 1);
  float o[Width / 8][4] = {};
  float m0 = -kInf, m1 = -kInf, l0 = 0, l1 = 0;
  for (int page = 0; page < pages; page++) {
    copy(page + 1);
    ptx::cp_async_wait<1>();
    __syncthreads();
    u16 *ks = kv.keys(page, end), *vs = ks + kPageSize * Width;
    float s[kPageSize / 8][4] = {};
#pragma unroll
    for (int k = 0; k < Width / 16; k++)
#pragma unroll
      for (int j = 0; j < kPageSize / 16; j++) {
        u32 f[4];
        ptx::ldmatrix(f, turned<Width>(ks, j * 16 + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
        T::mma(s[2 * j], fq[k][0], fq[k][1], fq[k][2], fq[k][3], f[0], f[1]);
        T::mma(s[2 * j + 1], fq[k][0], fq[k][1], fq[k][2], fq[k][3], f[2], f[3]);
      }
    float n0 = m0, n1 = m1;
#pragma unroll
    for (int j = 0; j < kPageSize / 8; j++) {
      int p = page * kPageSize + j * 8 + 2 * t;
#pragma unroll
      for (int i = 0; i < 2; i++) {
        s[j][i] = p + i <= at0 ? s[j][i] * scale : -kInf;
        s[j][i + 2] = p + i <= at1 ? s[j][i + 2] * scale : -kInf;
        n0 = max(n0, s[j][i]), n1 = max(n1, s[j][i + 2]);
      }
    }
    n0 = max(n0, __shfl_xor_sync(0xffffffff, n0, 1)), n0 = max(n0, __shfl_xor_sync(0xffffffff, n0, 2));
    n1 = max(n1, __shfl_xor_sync(0xffffffff, n1, 1)), n1 = max(n1, __shfl_xor_sync(0xffffffff, n1, 2));
    // Position 0 is in the first page and seen by all: the maxima are finite.
    float r0 = ptx::exp2(m0 - n0), r1 = ptx::exp2(m1 - n1);
    m0 = n0, m1 = n1, l0 *= r0, l1 *= r1;
#pragma unroll
    for (int j = 0; j < Width / 8; j++)
      o[j][0] *= r0, o[j][1] *= r0, o[j][2] *= r1, o[j][3] *= r1;
#pragma unroll
    for (int j = 0; j < kPageSize / 8; j++) {
      s[j][0] = ptx::exp2(s[j][0] - m0), s[j][1] = ptx::exp2(s[j][1] - m0);
      s[j][2] = ptx::exp2(s[j][2] - m1), s[j][3] = ptx::exp2(s[j][3] - m1);
      l0 += s[j][0] + s[j][1], l1 += s[j][2] + s[j][3];
    }
#pragma unroll
    for (int k = 0; k < kPageSize / 16; k++) {
      u32 w[4] = {T::pack(s[2 * k][0], s[2 * k][1]), T::pack(s[2 * k][2], s[2 * k][3]),
                  T::pack(s[2 * k + 1][0], s[2 * k + 1][1]), T::pack(s[2 * k + 1][2], s[2 * k + 1][3])};
#pragma unroll
      for (int j = 0; j < Width / 16; j++) {
        u32 f[4];
        ptx::ldmatrix_trans(f, turned<Width>(vs, k * 16 + lane % 16, 2 * j + lane / 16));
        T::mma(o[2 * j], w[0], w[1], w[2], w[3], f[0], f[1]);
        T::mma(o[2 * j + 1], w[0], w[1], w[2], w[3], f[2], f[3]);
      }
    }
    __syncthreads();
  }
  ptx::cp_async_wait<0>();
  l0 += __shfl_xor_sync(0xffffffff, l0, 1), l0 += __shfl_xor_sync(0xffffffff, l0, 2);
  l1 += __shfl_xor_sync(0xffffffff, l1, 1), l1 += __shfl_xor_sync(0xffffffff, l1, 2);
  const int q0 = warp * 16 + g, q1 = q0 + 8;
  u16 *a0 = a + (long long)(my.row + q0) * lda + h * Dh, *a1 = a0 + 8LL * lda;
#pragma unroll
  for (int j = 0; j < Width / 8; j++)
#pragma unroll
    for (int i = 0; i < 2; i++) {
      int d = j * 8 + 2 * t + i;
      if (d < Dh && q0 < my.count)
        a0[d] = narrow<T>(o[j][i] / l0);
      if (d < Dh && q1 < my.count)
        a1[d] = narrow<T>(o[j][i + 2] / l1);
    }
}
