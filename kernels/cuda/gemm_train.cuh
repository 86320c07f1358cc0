// Products of training on tensor cores: C[m, n] = sum_k a(m, k) b(n, k), where
// either operand may lie along k, as in y = W x, or across it, as W does in
// x' = W^T y' and both do in W' = y' x^T. Nothing is ever transposed in memory:
// ldmatrix turns the 8x8 blocks of an operand that lies across.
//
// The tile's steps, stages and swizzle are those of gemm.cuh; the products of
// several pairs of operands may add to the same registers.
#pragma once
#include "gemm.cuh"

// Tiles of 128 threads, whose warps have 64x64, 64x32 and 32x32 parts of them. A
// step of 64 reads and writes 96, 72 and 48 KiB of shared memory, for 512, 256 and
// 128 products a block: only the first has less to wait for there than in the tensor
// cores.
using TrainTile128x128 = Tile<128, 128, 2, 2>;
using TrainTile128x64 = Tile<128, 64, 2, 2>;
using TrainTile64x64 = Tile<64, 64, 2, 2>;

constexpr int kCopyParts = kTileK / 16; // of a stage's copies, and of its products

template <class S> struct Accumulator {
  float c[S::kM][S::kN][4] = {};
};

// KMajor is an operand whose elements of k lie side by side: (i, k) at p[i*ld + k],
// count rows i, zeros behind the last k up to a multiple of 8.
struct KMajor {
  const u16 *p;
  int ld, count;

  // copy starts one of four parts of the copies of rows i0.. and elements k0..k0+63
  // of k to a stage [B, 64]; what is past count or K is zero.
  template <int B, int Threads> __device__ __forceinline__ void copy(u16 *to, int i0, int k0, int K, int part) const {
    constexpr int kRounds = B / (Threads / 8) / kCopyParts;
    const int chunk = threadIdx.x % 8, first = threadIdx.x / 8;
    const u16 *from = p + (long long)(i0 + first) * ld + k0 + chunk * 8;
#pragma unroll
    for (int i = part * kRounds; i < (part + 1) * kRounds; i++) {
      int row = first + i * (Threads / 8);
      bool in = i0 + row < count && k0 + chunk * 8 < K;
      ptx::cp_async(to + row * kTileK + (chunk ^ row % 8) * 8, in ? from + (long long)i * (Threads / 8) * ld : p, in);
    }
  }
  // left gives the 16 rows from i on and 16 elements from 16*k on, as the first
  // factor of a product; right the same as two second factors of 8 columns.
  template <int B> static __device__ __forceinline__ void left(u32 (&f)[4], const u16 *s, int i, int k) {
    int lane = threadIdx.x % 32, row = i + lane % 16;
    ptx::ldmatrix(f, s + row * kTileK + ((2 * k + lane / 16) ^ row % 8) * 8);
  }
  template <int B> static __device__ __forceinline__ void right(u32 (&f)[4], const u16 *s, int i, int k) {
    int lane = threadIdx.x % 32, row = i + lane / 16 * 8 + lane % 8;
    ptx::ldmatrix(f, s + row * kTileK + ((2 * k + lane / 8 % 2) ^ row % 8) * 8);
  }
};

// MNMajor is an operand whose elements of k are rows: (i, k) at p[k*ld + i], i up to
// ld. What lies between the last i and ld is read and leads to no result.
struct MNMajor {
  const u16 *p;
  int ld;

  // A stage is [64, B], rows of k.
  template <int B, int Threads> __device__ __forceinline__ void copy(u16 *to, int i0, int k0, int K, int part) const {
    constexpr int kChunks = B / 8, kRows = Threads / kChunks, kRounds = kTileK / kRows / kCopyParts;
    const int chunk = threadIdx.x % kChunks, first = threadIdx.x / kChunks;
    const u16 *from = p + (long long)(k0 + first) * ld + i0 + chunk * 8;
#pragma unroll
    for (int i = part * kRounds; i < (part + 1) * kRounds; i++) {
      int row = first + i * kRows;
      bool in = k0 + row < K && i0 + chunk * 8 < ld;
      ptx::cp_async(to + row * B + (chunk ^ row % 8) * 8, in ? from + (long long)i * kRows * ld : p, in);
    }
  }
  template <int B> static __device__ __forceinline__ void left(u32 (&f)[4], const u16 *s, int i, int k) {
    int lane = threadIdx.x % 32, row = 16 * k + lane / 16 * 8 + lane % 8;
    ptx::ldmatrix_trans(f, s + row * B + ((i / 8 + lane / 8 % 2) ^ row % 8) * 8);
  }
  template <int B> static __device__ __forceinline__ void right(u32 (&f)[4], const u16 *s, int i, int k) {
    int lane = threadIdx.x % 32, row = 16 * k + lane % 16;
    ptx::ldmatrix_trans(f, s + row * B + ((i / 8 + lane / 16) ^ row % 8) * 8);
  }
};

// multiply adds the product of a stage's 64 elements of k. between(k) comes four
// times, each time before products that it need not wait for.
template <class T, class A, class B, int BM, int BN, int WM, int WN, class F>
static __device__ __forceinline__ void multiply(Accumulator<Tile<BM, BN, WM, WN>> &sum, const u16 *a, const u16 *b,
                                                F between) {
  using S = Tile<BM, BN, WM, WN>;
  const int warp = threadIdx.x / 32, wm = warp / WN * (BM / WM), wn = warp % WN * (BN / WN);
#pragma unroll
  for (int k = 0; k < kCopyParts; k++) {
    u32 fa[S::kM][4], fb[S::kN / 2][4];
#pragma unroll
    for (int i = 0; i < S::kM; i++)
      A::template left<BM>(fa[i], a, wm + i * 16, k);
#pragma unroll
    for (int j = 0; j < S::kN / 2; j++)
      B::template right<BN>(fb[j], b, wn + j * 16, k);
    between(k);
#pragma unroll
    for (int i = 0; i < S::kM; i++)
#pragma unroll
      for (int j = 0; j < S::kN; j++)
        T::mma(sum.c[i][j], fa[i][0], fa[i][1], fa[i][2], fa[i][3], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
  }
}

// accumulate adds sum_k a(m0 + m, k) b(n0 + n, k), k < K. Shared memory is free
// again on return.
template <class T, class A, class B, int BM, int BN, int WM, int WN>
static __device__ __forceinline__ void accumulate(Accumulator<Tile<BM, BN, WM, WN>> &sum, const A &a, const B &b, int K,
                                                  int m0, int n0) {
  constexpr int kThreads = Tile<BM, BN, WM, WN>::kThreads, kStage = (BM + BN) * kTileK;
  u16 *shared = (u16 *)smem;
  auto copy = [&](int step, int part) { // zeros past the last step
    u16 *to = shared + step % kStages * kStage;
    a.template copy<BM, kThreads>(to, m0, step * kTileK, K, part);
    b.template copy<BN, kThreads>(to + BM * kTileK, n0, step * kTileK, K, part);
    if (part == kCopyParts - 1)
      ptx::cp_async_commit();
  };
#pragma unroll
  for (int s = 0; s < kStages - 1; s++)
#pragma unroll
    for (int part = 0; part < kCopyParts; part++)
      copy(s, part);
  for (int step = 0; step * kTileK < K; step++) {
    ptx::cp_async_wait<kStages - 2>();
    __syncthreads();
    const u16 *stage = shared + step % kStages * kStage;
    multiply<T, A, B>(sum, stage, stage + BM * kTileK, [&](int part) { copy(step + kStages - 1, part); });
  }
  ptx::cp_async_wait<0>();
  __syncthreads();
}

// accumulate_unpipelined is accumulate for a step or two, of bfloat16: nothing is copied
// ahead.
template <class A, class B, int BM, int BN, int WM, int WN>
static __device__ __forceinline__ void accumulate_unpipelined(Accumulator<Tile<BM, BN, WM, WN>> &sum, const A &a,
                                                              const B &b, int K, int m0, int n0) {
  constexpr int kThreads = Tile<BM, BN, WM, WN>::kThreads;
  u16 *stage = (u16 *)smem;
  for (int k = 0; k < K; k += kTileK) {
#pragma unroll
    for (int part = 0; part < kCopyParts; part++) {
      a.template copy<BM, kThreads>(stage, m0, k, K, part);
      b.template copy<BN, kThreads>(stage + BM * kTileK, n0, k, K, part);
    }
    ptx::cp_async_commit();
    ptx::cp_async_wait<0>();
    __syncthreads();
    multiply<BF16, A, B>(sum, stage, stage + BM * kTileK, [](int) {});
    __syncthreads();
  }
}

// each calls f(m, n, c(m, n), c(m, n+1)) for the elements of this thread, n even.
template <int BM, int BN, int WM, int WN, class F>
static __device__ __forceinline__ void each(Accumulator<Tile<BM, BN, WM, WN>> &sum, int m0, int n0, F f) {
  using S = Tile<BM, BN, WM, WN>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int m = m0 + warp / WN * (BM / WM) + g, n = n0 + warp % WN * (BN / WN) + 2 * t;
#pragma unroll
  for (int i = 0; i < S::kM; i++)
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
      for (int j = 0; j < S::kN; j++)
        f(m + i * 16 + h * 8, n + j * 8, sum.c[i][j][2 * h], sum.c[i][j][2 * h + 1]);
}

// store sets or adds the elements of this thread times the factor of their row m < M, below
// column N: row(m) is where it begins, factor(m) its factor. What is added to is read for 16
// rows of the warp before any of it is written, so that its latencies overlap.
template <int BM, int BN, int WM, int WN, class Row, class Factor>
static __device__ __forceinline__ void store(Accumulator<Tile<BM, BN, WM, WN>> &sum, int m0, int n0, int M, int N,
                                             bool add, Row row, Factor factor) {
  using S = Tile<BM, BN, WM, WN>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int n = n0 + warp % WN * (BN / WN) + 2 * t;
#pragma unroll
  for (int i = 0; i < S::kM; i++) {
    const int m = m0 + warp / WN * (BM / WM) + g + i * 16;
    float2 old[2][S::kN];
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
      for (int j = 0; j < S::kN; j++) // rows are padded: a last column has a neighbour
        old[h][j] = add && m + h * 8 < M && n + j * 8 < N ? *(const float2 *)(row(m + h * 8) + n + j * 8) : float2{0, 0};
#pragma unroll
    for (int h = 0; h < 2; h++) {
      if (m + h * 8 >= M)
        continue;
      float *to = row(m + h * 8);
      const float f = factor(m + h * 8);
#pragma unroll
      for (int j = 0; j < S::kN; j++) {
        const int c = n + j * 8;
        float2 v = {sum.c[i][j][2 * h] * f, sum.c[i][j][2 * h + 1] * f};
        if (add)
          v.x += old[h][j].x, v.y += old[h][j].y;
        if (c + 1 < N)
          *(float2 *)(to + c) = v;
        else if (c < N)
          to[c] = v.x;
      }
    }
  }
}

// put sets or adds a row's two neighbours n, n+1, of which only those below N are;
// row is aligned to 8 bytes.
static __device__ __forceinline__ void put(float *row, int n, int N, float a, float b, bool add) {
  float *to = row + n;
  if (n + 1 < N) {
    float2 v = {a, b};
    if (add) {
      float2 old = *(const float2 *)to;
      v.x += old.x, v.y += old.y;
    }
    *(float2 *)to = v;
  } else if (n < N) {
    to[0] = add ? to[0] + a : a;
  }
}
