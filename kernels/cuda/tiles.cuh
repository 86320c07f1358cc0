// y[m, r] = W[r] . x[m] for many rows m: the product of prefill, on tensor cores,
// bound by arithmetic.
//
// A block makes BM rows of x by BN rows of W, in steps of 64 elements of K that
// stages of asynchronous copies keep ahead. A row of a stage is 128 bytes;
// its 16-byte chunks are turned by the row's number (chunk ^ row%8), so that both
// the copies and ldmatrix touch every bank once. Each warp holds its part of the tile
// in registers, 64x32 of a large one. Rows of W come in pairs as in stream.cuh:
// a pair's two outputs are neighbours in one thread's registers.
#pragma once
#include "types.cuh"

constexpr int kStages = 3;
constexpr int kDepth = 64; // elements of K a stage

// Whatever the tile, an output is one chain of products over K, 16 elements after
// another: its bits do not depend on the tile, nor on the number of rows. Few rows are
// bound by reading W: their tiles are narrow, so that every SM has one, and their
// stages many, so that 40 KiB and more of W are on the way to each.
template <int BM, int BN, int WarpsM, int WarpsN, int Stages = kStages> struct Tile {
  static constexpr int kThreads = 32 * WarpsM * WarpsN;
  static constexpr int kM = BM / WarpsM / 16, kN = BN / WarpsN / 8; // products a warp
};
using Large = Tile<128, 128, 2, 4>;  // 256 threads, 96 KiB
using Small = Tile<64, 64, 2, 2>;    // 128 threads, 48 KiB
using Slim = Tile<64, 32, 2, 2, 8>;  // 128 threads, 96 KiB
using Thin = Tile<16, 32, 1, 2, 12>;   // 64 threads, 72 KiB

// EACH_TILE makes a kernel for each tile and type: M(type, its name, tile, its name,
// threads, blocks an SM, rows of x, rows of W).
#define EACH_TILE(M)                         \
  M(BF16, bf16, Large, large, 256, 2, 128, 128) \
  M(F16, f16, Large, large, 256, 2, 128, 128)   \
  M(BF16, bf16, Small, small, 128, 2, 64, 64)   \
  M(F16, f16, Small, small, 128, 2, 64, 64)     \
  M(BF16, bf16, Slim, slim, 128, 2, 64, 32)     \
  M(F16, f16, Slim, slim, 128, 2, 64, 32)       \
  M(BF16, bf16, Thin, thin, 64, 3, 16, 32)      \
  M(F16, f16, Thin, thin, 64, 3, 16, 32)

// product adds up K elements (a multiple of 8; what is past them is taken as
// zero) and calls out(m, pair, y[m, 2*pair], y[m, 2*pair+1]) for m < M and pairs
// whose first row is below N. x.row(m), w.row(r): where rows start, 16-byte aligned.
template <class T, int BM, int BN, int WM, int WN, int Stages, class X, class W, class Out>
DEVICE void product(Tile<BM, BN, WM, WN, Stages>, const X &x, const W &w, int M, int N, int K, int m0, int n0, Out out) {
  using S = Tile<BM, BN, WM, WN, Stages>;
  constexpr int kThreads = S::kThreads, kRows = kThreads / 8; // rows that one round of copies covers
  u16 *shared = (u16 *)ptx::shared();
  const int tid = ptx::tid(), lane = tid % 32, warp = tid / 32;
  const int wm = warp / WN * (BM / WM), wn = warp % WN * (BN / WN);
  const int chunk = tid % 8, first = tid / 8;

  const u16 *from[(BM + BN) / kRows];
#pragma unroll
  for (int i = 0; i < BM / kRows; i++)
    from[i] = x.row(min(m0 + first + i * kRows, M - 1)) + chunk * 8;
#pragma unroll
  for (int i = 0; i < BN / kRows; i++)
    from[BM / kRows + i] = w.row(min(n0 + first + i * kRows, N - 1)) + chunk * 8;

  const int steps = ceil_div(K, kDepth);
  auto copy = [&](int step) {
    if (step < steps) {
      u16 *to = shared + step % Stages * (BM + BN) * kDepth;
      bool in = step * kDepth + chunk * 8 < K;
#pragma unroll
      for (int i = 0; i < (BM + BN) / kRows; i++) {
        int row = first + i * kRows;
        ptx::cp_async(to + row * kDepth + (chunk ^ row % 8) * 8, in ? from[i] + step * kDepth : from[i], in);
      }
    }
    ptx::cp_commit();
  };
  float c[S::kM][S::kN][4] = {};
#pragma unroll
  for (int s = 0; s < Stages - 1; s++)
    copy(s);
  for (int step = 0; step < steps; step++) {
    ptx::cp_wait<Stages - 2>();
    ptx::sync();
    copy(step + Stages - 1);
    const u16 *a = shared + step % Stages * (BM + BN) * kDepth, *b = a + BM * kDepth;
#pragma unroll
    for (int k = 0; k < kDepth / 16; k++) {
      u32 fa[S::kM][4], fb[S::kN / 2][4];
#pragma unroll
      for (int i = 0; i < S::kM; i++) { // lanes 0-15: rows, first half of k; 16-31: second
        int row = wm + i * 16 + lane % 16;
        ptx::ldmatrix(fa[i], a + row * kDepth + ((2 * k + lane / 16) ^ row % 8) * 8);
      }
#pragma unroll
      for (int j = 0; j < S::kN / 2; j++) { // two products' rows: 0-7 halves, then 8-15
        int row = wn + j * 16 + lane / 16 * 8 + lane % 8;
        ptx::ldmatrix(fb[j], b + row * kDepth + ((2 * k + lane / 8 % 2) ^ row % 8) * 8);
      }
#pragma unroll
      for (int i = 0; i < S::kM; i++)
#pragma unroll
        for (int j = 0; j < S::kN; j++)
          T::mma(c[i][j], fa[i][0], fa[i][1], fa[i][2], fa[i][3], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
    }
  }
  ptx::cp_wait<0>();
  const int g = lane / 4, t = lane % 4;
#pragma unroll
  for (int i = 0; i < S::kM; i++)
#pragma unroll
    for (int j = 0; j < S::kN; j++) {
      int m = m0 + wm + i * 16 + g, n = n0 + wn + j * 8 + 2 * t;
      if (n < N) {
        if (m < M)
          out(m, n / 2, c[i][j][0], c[i][j][1]);
        if (m + 8 < M)
          out(m + 8, n / 2, c[i][j][2], c[i][j][3]);
      }
    }
}

// Half is a 16-bit matrix of pitch ld.
struct Half {
  const u16 *p;
  int ld;
  MEMBER const u16 *row(int r) const { return p + (long long)r * ld; }
};
