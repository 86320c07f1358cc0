// y[m, r] = W[r] . x[m] for many rows m: the product of prefill, on tensor cores,
// bound by arithmetic.
//
// A block makes BM rows of x by BN rows of W, in steps of 64 elements of K that
// stages of asynchronous copies keep ahead. A row's 16-byte chunks are turned by its
// number (Staged), so that both the copies and ldmatrix touch every bank once. Each
// warp holds its part of the tile in registers, 64x32 of a large one. Rows of W come in
// pairs as in gemv.cuh: a pair's two outputs are neighbours in one thread's registers.
//
// Weights of 8 bits lie in the stages as they do in memory, and become 16-bit integers,
// exactly, on their way from registers to the product: the sums are those of a matrix of
// such integers, to the bit, and are scaled last.
#pragma once
#include "types.cuh"

constexpr int kStages = 3;
constexpr int kTileK = 64; // elements of K a stage

// Whatever the tile, an output is one chain of products over K, 16 elements after
// another: its bits do not depend on the tile, nor on the number of rows. Few rows are
// bound by reading W: their tiles are narrow, so that every SM has one, and their
// stages many, so that 40 KiB and more of W are on the way to each.
template <int BM, int BN, int WarpsM, int WarpsN, int Stages = kStages> struct Tile {
  static constexpr int kThreads = 32 * WarpsM * WarpsN;
  static constexpr int kM = BM / WarpsM / 16, kN = BN / WarpsN / 8; // products a warp
};
using Tile128x128 = Tile<128, 128, 2, 4>; // 256 threads, 96 KiB
using Tile64x64 = Tile<64, 64, 2, 2>;     // 128 threads, 48 KiB
using Tile64x32 = Tile<64, 32, 2, 2, 8>;  // 128 threads, 96 KiB
using Tile16x32 = Tile<16, 32, 1, 2, 12>; // 64 threads, 72 KiB

// EACH_TILE makes a kernel for each tile, type and width of weights: M(type, weights,
// their name, tile, its name, threads, blocks an SM, rows of x, rows of W).
// In the set sm_90a weights of 16 bits have gemm_wgmma.cuh.
#define EACH_BYTES(M, ...)          \
  M(BF16, i8, i8_bf16, __VA_ARGS__) \
  M(F16, i8, i8_f16, __VA_ARGS__)
#if defined(HOPPER) && !defined(CUEMU)
#define EACH_FORMAT EACH_BYTES
#else
#define EACH_FORMAT(M, ...)       \
  M(BF16, u16, bf16, __VA_ARGS__) \
  M(F16, u16, f16, __VA_ARGS__)   \
  EACH_BYTES(M, __VA_ARGS__)
#endif
#define EACH_TILE(M)                                     \
  EACH_FORMAT(M, Tile128x128, 128x128, 256, 2, 128, 128) \
  EACH_FORMAT(M, Tile64x64, 64x64, 128, 2, 64, 64)       \
  EACH_FORMAT(M, Tile64x32, 64x32, 128, 2, 64, 32)       \
  EACH_FORMAT(M, Tile16x32, 16x32, 64, 3, 16, 32)

// StageLayout says how a row of 64 elements lies in a stage: where its chunks of 16 bytes
// start, and what of four matrices that ldmatrix read of them are the second factors of
// columns 8*j.. of step k. Read are 16 rows, two chunks of each: of 16 bits a step's, of
// 8 bits those of two steps.
template <class E> struct StageLayout;
template <> struct StageLayout<u16> {
  static constexpr int kSteps = 1;
  static __device__ __forceinline__ int at(int row, int chunk) { return row * 128 + (chunk ^ row % 8) * 16; }
  template <class T> static __device__ __forceinline__ void factors(u32 (&b)[2], const u32 (&f)[4], int j, int) {
    b[0] = f[j % 2 * 2], b[1] = f[j % 2 * 2 + 1];
  }
};
template <> struct StageLayout<i8> {
  static constexpr int kSteps = 2;
  static __device__ __forceinline__ int at(int row, int chunk) { return row * 64 + (chunk ^ row / 2 % 4) * 16; }
  template <class T> static __device__ __forceinline__ void factors(u32 (&b)[2], const u32 (&f)[4], int j, int k) {
    u32 v = f[j % 2 * 2 + k % 2]; // elements 2t, 2t+1, 2t+8, 2t+9: see byte_place
    b[0] = T::from_bytes(ptx::unpack_bytes(v, 0, 0)), b[1] = T::from_bytes(ptx::unpack_bytes(v, 1, 0));
  }
};

// TileCopy is a thread's part of the copies of Rows rows of a matrix to a stage.
template <class E, int Rows, int Threads> struct TileCopy {
  static constexpr int kChunks = kTileK * sizeof(E) / 16, kPerLane = 16 / sizeof(E),
                       kEach = Threads / kChunks; // rows of a round
  static_assert(Rows % kEach == 0, "rounds are whole");
  const E *from[Rows / kEach];
  template <class M> __device__ __forceinline__ TileCopy(const M &m, int r0, int count) {
#pragma unroll
    for (int i = 0; i < Rows / kEach; i++)
      from[i] = m.row(min(r0 + threadIdx.x / kChunks + i * kEach, count - 1)) + threadIdx.x % kChunks * kPerLane;
  }
  // start begins those of elements k.. of K.
  __device__ __forceinline__ void start(u8 *to, int k, int K) const {
    const int chunk = threadIdx.x % kChunks, first = threadIdx.x / kChunks;
    bool in = k + chunk * kPerLane < K;
#pragma unroll
    for (int i = 0; i < Rows / kEach; i++)
      ptx::cp_async(to + StageLayout<E>::at(first + i * kEach, chunk), in ? from[i] + k : from[i], in);
  }
};

// gemm adds up K elements (a multiple of 8; what is past them is taken as
// zero) and calls out(row, pair, y[m, 2*pair], y[m, 2*pair+1], before) for m < M and
// pairs whose first row is below N; row is out.row(m), before out.before(row, pair).
// x.row(m), w.row(r): where rows start, 16-byte aligned, those of 8 bits with zeros up to
// a multiple of 16.
template <class T, class E, int BM, int BN, int WM, int WN, int Stages, class X, class W, class Out>
static __device__ __forceinline__ void gemm(Tile<BM, BN, WM, WN, Stages>, const X &x, const W &w, int M, int N, int K,
                                            int m0, int n0, Out out) {
  using S = Tile<BM, BN, WM, WN, Stages>;
  constexpr int kX = BM * kTileK * 2, kStage = kX + BN * kTileK * sizeof(E); // bytes
  constexpr int kAheadOf = Stages * (BM + BN) * kTileK * 2 / kStage;         // stages in the memory of 16-bit ones
  u8 *shared = smem;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int wm = warp / WN * (BM / WM), wn = warp % WN * (BN / WN);
  const TileCopy<u16, BM, S::kThreads> of_x(x, m0, M);
  const TileCopy<E, BN, S::kThreads> of_w(w, n0, N);

  const int steps = ceil_div(K, kTileK);
  auto copy = [&](int step) {
    if (step < steps) {
      u8 *to = shared + step % kAheadOf * kStage;
      of_x.start(to, step * kTileK, K);
      of_w.start(to + kX, step * kTileK, K);
    }
    ptx::cp_async_commit();
  };
  float c[S::kM][S::kN][4] = {};
#pragma unroll
  for (int s = 0; s < kAheadOf - 1; s++)
    copy(s);
  for (int step = 0; step < steps; step++) {
    ptx::cp_async_wait<kAheadOf - 2>();
    __syncthreads();
    copy(step + kAheadOf - 1);
    const u8 *a = shared + step % kAheadOf * kStage, *b = a + kX;
    u32 fb[S::kN / 2][4];
#pragma unroll
    for (int k = 0; k < kTileK / 16; k++) {
      u32 fa[S::kM][4];
#pragma unroll
      for (int i = 0; i < S::kM; i++) // lanes 0-15: rows, first half of k; 16-31: second
        ptx::ldmatrix(fa[i], a + StageLayout<u16>::at(wm + i * 16 + lane % 16, 2 * k + lane / 16));
      if (k % StageLayout<E>::kSteps == 0)
#pragma unroll
        for (int j = 0; j < S::kN / 2; j++) // two products' rows: 0-7 both chunks, then 8-15
          ptx::ldmatrix(fb[j], b + StageLayout<E>::at(wn + j * 16 + lane / 16 * 8 + lane % 8,
                                                      2 * k / StageLayout<E>::kSteps + lane / 8 % 2));
#pragma unroll
      for (int j = 0; j < S::kN; j++) {
        u32 f[2];
        StageLayout<E>::template factors<T>(f, fb[j / 2], j, k);
#pragma unroll
        for (int i = 0; i < S::kM; i++)
          T::mma(c[i][j], fa[i][0], fa[i][1], fa[i][2], fa[i][3], f[0], f[1]);
      }
    }
  }
  ptx::cp_async_wait<0>();
  const int g = lane / 4, t = lane % 4;
#pragma unroll
  for (int i = 0; i < S::kM; i++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int m = m0 + wm + i * 16 + h * 8 + g, n = n0 + wn + 2 * t;
      if (m < M) {
        const typename Out::Row row = out.row(m);
        typename Out::Source source[S::kN];
#pragma unroll
        for (int j = 0; j < S::kN; j++)
          source[j] = out.source(row, min(n + j * 8, N - 1) / 2);
#pragma unroll
        for (int j = 0; j < S::kN; j++)
          if (n + j * 8 < N)
            out(row, (n + j * 8) / 2, c[i][j][2 * h], c[i][j][2 * h + 1], source[j]);
      }
    }
}

// HalfMatrix is a 16-bit matrix of pitch ld.
struct HalfMatrix {
  const u16 *p;
  int ld;
  __device__ __forceinline__ const u16 *row(int r) const { return p + (long long)r * ld; }
};
