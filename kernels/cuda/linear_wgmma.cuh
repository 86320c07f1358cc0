// What the products of one matrix on compute capability 9.0 share: how its rows are copied,
// and how float32 results are written.
#pragma once
#include "gemm_wgmma.cuh"

#ifdef HOPPER
// The 64 rows of a block as they lie.
struct LinearTma {
  const TensorMap *map; // [out, in], TMA tiles of a WeightCopy's rows
  using Block = int;    // its first row
  __device__ __forceinline__ Block block(int i) const { return 64 * i; }
  template <int N> __device__ __forceinline__ void load(u16 *to, int k, Block row, const WeightCopy<N> &copy) const {
    copy(to + copy.first() * kTileK, map, k, row + copy.first(), 0);
  }
};

// prefetch_residual asks L2 for what is added to the outputs of row m of x, r.. of W.
template <class Out>
static __device__ __forceinline__ void prefetch_residual(const Out &out, int m, int M, int r, int rows) {
  if (out.add && m < M && r < out.out)
    ptx::prefetch_l2(out.y + (long long)m * out.ldy + r, (min(rows, out.out - r) * 4 + 15) & ~15);
}

// LinearWriter has every thread write what it has, 32 bytes a warp and token: of rows row
// and row+8 of W two neighbours of every eight tokens. What is added to them is read four
// such columns ahead. Where Scaled is set, sums are multiplied by out.factor(token) first.
template <int Tokens, class Out, bool Scaled = false> struct LinearWriter {
  static constexpr int kColumns = Tokens / 8 < 4 ? Tokens / 8 : 4, kRounds = Tokens / 8 / kColumns;
  float *y; // of the thread's first token and row
  int ldy;
  int left, right;    // tokens from that on: of row, of row+8
  int add, right_add; // those that are added to
  float *factors; // of the warpgroup's tokens, in shared memory
  float old[2][4 * kColumns];

  static __device__ __forceinline__ LinearWriter make(const Out &out, u8 *shared, int m0, int M, int eight) {
    float *factors = (float *)shared + threadIdx.x / 128 * Tokens;
    if constexpr (Scaled) {
      for (int i = threadIdx.x % 128; i < Tokens; i += 128)
        factors[i] = out.factor(min(m0 + i, M - 1));
      ptx::warpgroup_sync();
    }
    const int lane = threadIdx.x % 32, m = m0 + lane % 4 * 2, row = 16 * (eight + threadIdx.x / 32 % 4) + lane / 4;
    const int left = row < out.out ? M - m : 0, right = row + 8 < out.out ? left : 0;
    return {out.y + (long long)m * out.ldy + row, out.ldy, left, right, out.add ? left : 0, out.add ? right : 0,
            factors + lane % 4 * 2};
  }
  __device__ __forceinline__ float *at(int token) const { return y + (long long)token * ldy; }
  __device__ __forceinline__ void read(int round) {
#pragma unroll
    for (int i = 0; i < 2 * kColumns; i++) {
      const int token = (round * kColumns + i / 2) * 8 + i % 2;
      float *o = old[round % 2] + 2 * i;
      o[0] = o[1] = -0.0f; // a sum of which keeps every bit
      if (token < add)
        o[0] = at(token)[0];
      if (token < right_add)
        o[1] = at(token)[8];
    }
  }
  __device__ __forceinline__ void start() { read(0); }
  // write has the sums of a round as they lie in c: of four columns, two tokens of row and
  // two of row+8 each.
  __device__ __forceinline__ void write(int round, const float *c) const {
#pragma unroll
    for (int i = 0; i < 2 * kColumns; i++) {
      const int token = (round * kColumns + i / 2) * 8 + i % 2;
      const float *o = old[round % 2] + 2 * i, *sums = c + 4 * (i / 2) + i % 2;
      const float f = Scaled ? factors[token] : 1;
      if (token < left)
        at(token)[0] = o[0] + f * sums[0];
      if (token < right)
        at(token)[8] = o[1] + f * sums[2];
    }
  }
  __device__ __forceinline__ void put(const float (&c)[Tokens / 2]) {
#pragma unroll
    for (int round = 0; round < kRounds; round++) {
      if (round + 1 < kRounds)
        read(round + 1);
      write(round, c + 4 * kColumns * round);
    }
    if (Scaled)
      ptx::warpgroup_sync(); // the next tile's factors take the place of this one's
  }
};
#endif
