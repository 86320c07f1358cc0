// y[m, r] = W[r] . x[m] for many rows m, as in gemm.cuh, by what compute capability
// 9.0 has for it: TMA copies of whole tiles and products of a warpgroup (wgmma).
//
// The rows of W are the 64 rows of a product, rows of x its 16 to 256 columns, so that
// one instruction serves prompts of any length: an output is one chain of products over
// K, 16 elements after another, whatever the tile. Its bits depend neither on the tile
// nor on the number of rows.
//
// A block is one or two warpgroups that multiply, each 64 rows of W, and for each a thread
// that copies, a warp's first; beside two these are in a warpgroup of their own. A stage
// is 64 elements of K of those rows and of the rows of x, 128 bytes a row, chunks of 16
// bytes swizzled by the copies (chunk ^ row%8) as the products expect. A full barrier ends
// its phase when a stage's bytes are there, an empty barrier when all warps have read it.
// Blocks stay for several tiles: the copies for the next are under way while the outputs
// of the last are written.
//
// Bound of the largest tile, 128x256, an element of K: 32768 products take 16 cycles at
// the published rate (2048 a cycle and SM); its operands are read from shared memory at
// 2 * (128 + 2*256) bytes in those, 80 of 128 bytes a cycle, and come at 2 * (128 + 256)
// = 48 bytes a cycle. Two blocks of a cluster take the same rows of x, half of them
// each for both: 32 bytes a cycle out of L2. Four blocks, two by two, share the rows of W
// in the same way: 24 bytes. Three warps on each quarter of an SM have
// 168 registers each; 128 of sums and the outputs' addresses want more, so that the
// copying warpgroup gives of its own to those that multiply (setmaxnreg).
//
// Tiles of 64 rows of W for few rows of x are bound by reading W: 90 KiB and more of it
// under way in each of two blocks an SM.
#pragma once
#include "gemm.cuh"

#ifdef HOPPER

// A cluster's blocks lie beside each other along W, two of them, and then along x.
template <int Tokens, int Groups, int Stages, int Blocks> struct WgmmaTile {
  static constexpr int kAlong = Blocks < 2 ? 1 : 2;     // blocks that share rows of x
  static constexpr int kAcross = Blocks / kAlong;       // blocks that share rows of W
  static constexpr int kReaders = kAlong + kAcross - 1; // of what a block copies
  // along and beside are where a block of the cluster lies along W and x.
  static __device__ __forceinline__ int along(int rank) { return kAcross > 1 ? rank % kAlong : rank; }
  static __device__ __forceinline__ int beside(int rank) { return kAcross > 1 ? rank / kAlong : 0; }
  // reads says whether a block reads what another one copies.
  static __device__ __forceinline__ bool reads(int rank, int of) {
    return kAcross == 1 || along(rank) == along(of) || beside(rank) == beside(of);
  }
  static constexpr int kWeights = 64 * Groups * kTileK, kStage = kWeights + Tokens * kTileK; // elements a stage
  static __device__ __forceinline__ void sync() {
    if (Blocks > 1)
      ptx::cluster_sync();
    else
      __syncthreads();
  }
};

// EACH_WGMMA_TILE makes a kernel for each tile and type: M(type, its name, the tile's, rows of x,
// threads, blocks an SM, warpgroups, stages, blocks of a cluster).
#define EACH_WGMMA_TILE(M)                   \
  M(BF16, bf16, 256, 256, 384, 1, 2, 4, 2)   \
  M(F16, f16, 256, 256, 384, 1, 2, 4, 2)     \
  M(BF16, bf16, 128, 128, 384, 1, 2, 6, 2)   \
  M(F16, f16, 128, 128, 384, 1, 2, 6, 2)     \
  M(BF16, bf16, 64, 64, 160, 2, 1, 6, 1)     \
  M(F16, f16, 64, 64, 160, 2, 1, 6, 1)       \
  M(BF16, bf16, 32, 32, 160, 2, 1, 8, 1)     \
  M(F16, f16, 32, 32, 160, 2, 1, 8, 1)       \
  M(BF16, bf16, 16, 16, 160, 2, 1, 9, 1)     \
  M(F16, f16, 16, 16, 160, 2, 1, 9, 1)       \
  M(BF16, bf16, 256x4, 256, 384, 1, 2, 4, 4) \
  M(F16, f16, 256x4, 256, 384, 1, 2, 4, 4)

// descriptor of 64 or more rows of 128 bytes with swizzled chunks: address, eight rows'
// distance (1024), both in units of 16 bytes, and the kind of swizzle.
static __device__ __forceinline__ u64 descriptor(const u16 *p) {
  return (u64)(1 << 30 | 1024 >> 4) << 32 | (1 << 16 | (ptx::shared_address(p) & 0x3ffff) >> 4);
}

// across is of an operand B that lies across: rows of k, each 64 columns of 128 bytes, the
// next 64 columns panel elements on.
static __device__ __forceinline__ u64 across(const u16 *p, int panel) {
  return descriptor(p) + ((u64)(panel * 2 / 16 - 1) << 16);
}

// WeightCopy starts the copies of a block's share of the 64 rows of W that it multiplies: all of them,
// or one half for itself and the cluster's block with the same rows, as mask says.
template <int Shares> struct WeightCopy {
  static constexpr int kRows = 64 / Shares;
  int share, mask;
  u64 *barrier;
  __device__ __forceinline__ int first() const { return Shares > 1 ? share * kRows : 0; } // of the 64 rows
  __device__ __forceinline__ void operator()(u16 *to, const TensorMap *map, int c0, int c1, int c2) const {
    if (Shares > 1)
      ptx::tma_load_multicast(mask, to, map, c0, c1, c2, barrier);
    else
      ptx::tma_load(to, map, c0, c1, c2, barrier);
  }
};

// Stage goes round the stages of a pipeline.
template <int Stages> struct Stage {
  int index = 0, round = 0;
  __device__ __forceinline__ void next() {
    if (++index == Stages)
      index = 0, round++;
  }
};

// KSteps are the steps over K of a product of one pair of matrices: rows of x by rows of W.
// kMNMajor: W lies across, 64 rows of k with 64 rows of W each. kApart: see gemm_wgmma.
struct KSteps {
  static constexpr bool kMNMajor = false, kApart = false;
  const TensorMap *x;
  int count;
  __device__ __forceinline__ KSteps(const TensorMap *x, int K) : x(x), count(ceil_div(K, kTileK)) {}
  __device__ __forceinline__ const TensorMap *map(int) const { return x; }
  __device__ __forceinline__ int k(int step) const { return step * kTileK; }
  template <class W> __device__ __forceinline__ const W &weights(const W &w, int) const { return w; }
};

// fill copies the stages of a block's tiles, one after another: a warpgroup's rows of W;
// the first's thread of x a share of the cluster's rows as well, for all its blocks. A
// stage's copies and what leads to them are to take less of a thread than its products of
// the tensor cores: w.block(i) is found once a tile. w.load(to, map's k, block, copy): starts
// a WeightCopy's share. steps.map(step), steps.k(step): the rows of x of a step and its first element of K.
// out.prefetch(m, M, r, rows): asks L2 for what is added to outputs of row m of x,
// r.. of W, so that the epilogue does not wait for memory.
template <int Tokens, int Groups, int Stages, int Blocks, class K, class W, class Out>
static __device__ __forceinline__ void fill(WgmmaTile<Tokens, Groups, Stages, Blocks>, u16 *stages, u64 *full,
                                            u64 *empty, const K &steps, const W &w, int across, int tiles, int rank,
                                            int group, const Out &out, int M) {
  using S = WgmmaTile<Tokens, Groups, Stages, Blocks>;
  constexpr int kShare = Tokens / S::kAlong;
  const int along = S::along(rank), beside = S::beside(rank);
  const int asked = ceil_div(Tokens, steps.count); // tokens of a step whose outputs' place is asked for
  Stage<Stages> s;
  for (int tile = blockIdx.x / Blocks; tile < tiles; tile += gridDim.x / Blocks) {
    const int m0 = (tile % across * S::kAcross + beside) * Tokens, first = (tile / across * S::kAlong + along) * Groups;
    const typename W::Block block = w.block(first + group);
    for (int step = 0; step < steps.count; step++, s.next()) {
      u16 *to = stages + s.index * S::kStage;
      u64 *b = full + s.index;
      if (s.round > 0)
        ptx::mbarrier_wait_parity(empty + s.index, s.round - 1 & 1);
      ptx::mbarrier_arrive_expect_tx(b, 2 * (64 + (group == 0 ? Tokens : 0)) * kTileK);
      if (group == 0) {
        if (Blocks > 1)
          ptx::tma_load_multicast(((1 << S::kAlong) - 1) << beside * S::kAlong,
                                  to + S::kWeights + along * kShare * kTileK, steps.map(step), steps.k(step),
                                  m0 + along * kShare, 0, b);
        else
          ptx::tma_load(to + S::kWeights, steps.map(step), steps.k(step), m0, 0, b);
      }
      steps.weights(w, step).load(to + group * 64 * kTileK, steps.k(step), block,
                                  WeightCopy<S::kAcross>{beside, (1 | 1 << S::kAlong) << along, b});
      if (group == Groups - 1 && Groups == 2) // the second has the time for it
        for (int i = 0; i < asked && step * asked + i < Tokens; i++)
          out.prefetch(m0 + step * asked + i, M, first * 64, Groups * 64);
    }
  }
}

// The results of a warp are eight pairs of rows of W, its eight: rows j and j+8 of the
// warp's 16, of which one thread has both. The operation's Writer writes them: start()
// reads what they depend on, while the last products are under way; put(c) follows when
// those have ended.
//
//   Writer::make(out, exchange, m0, M, eight)  of rows of x from m0 on, of the warpgroup's
//                                              first eight

// SharedMemoryWriter has a warpgroup write 16-bit results of 32 tokens at a time, after they were
// exchanged in shared memory: 16 bytes a lane, those of four warps beside each other.
// What is needed of a token, where its rows lie and what its results depend on, is found
// out once for the warpgroup.
//
//   Out::Token, out.token(m)           of one row of x
//   Out::Eight, out.eight(i, part)     of one part of the results of W's i-th eight
//   out.before(eight, token)           of the lane's pair, where out.reads(eight)
//   out.apply(eight, a, b, before)     results in the place of the sums of some tokens
//   out.to(eight, token)               where the eight results begin: whole, or count of them
template <class T, int Tokens, class Out> struct SharedMemoryWriter {
  using Token = typename Out::Token;
  static constexpr int kAtOnce = 32, kRounds = (Tokens + kAtOnce - 1) / kAtOnce;
  static constexpr int kColumns = Tokens / 8 < 4 ? Tokens / 8 : 4;
  static constexpr int kChunks = 4 * Out::kParts; // of 16 bytes, of a token: of each part, one a warp
  static constexpr int kBuffer = kAtOnce * kChunks * 16;
  static constexpr int kShared = 2 * kBuffer + Tokens * (int)sizeof(Token); // bytes of a warpgroup
  const Out &out;
  u8 *buffers; // two, taken in turn
  Token *tokens;
  int m0, M;
  typename Out::Eight own, other; // of what this thread computes, of what it writes
  typename Out::Source source[2][2 * kColumns];

  static __device__ __forceinline__ SharedMemoryWriter make(const Out &out, u8 *shared, int m0, int M, int eight) {
    u8 *mine = shared + threadIdx.x / 128 * kShared;
    return {out,
            mine,
            (Token *)(mine + 2 * kBuffer),
            m0,
            M,
            out.eight(eight + threadIdx.x / 32 % 4, 0),
            out.eight(eight + threadIdx.x % 4, threadIdx.x % kChunks / 4)};
  }
  // at is where a chunk lies, turned so that both the warps' columns and whole rows touch
  // every bank once.
  static __device__ __forceinline__ int at(int token, int chunk) {
    return (token * kChunks + (chunk ^ token / (8 / kChunks) % kChunks)) * 16;
  }

  __device__ __forceinline__ void read(int round) {
    const int first = round * kAtOnce + threadIdx.x % 4 * 2;
    if (out.reads(own))
#pragma unroll
      for (int i = 0; i < 2 * kColumns; i++)
        source[round % 2][i] = out.source(own, tokens[first + i / 2 * 8 + i % 2]);
  }
  __device__ __forceinline__ void start() {
    for (int i = threadIdx.x % 128; i < Tokens; i += 128)
      tokens[i] = out.token(min(m0 + i, M - 1));
    ptx::warpgroup_sync();
    read(0);
  }
  __device__ __forceinline__ void put(const float (&c)[Tokens / 2]) {
#pragma unroll
    for (int round = 0; round < kRounds; round++) {
      if (round + 1 < kRounds)
        read(round + 1);
      u8 *buffer = buffers + round % 2 * kBuffer;
      float v[2][2 * kColumns];
#pragma unroll
      for (int i = 0; i < 2 * kColumns; i++)
#pragma unroll
        for (int half = 0; half < 2; half++)
          v[half][i] = c[4 * (round * kColumns + i / 2) + 2 * half + i % 2];
      out.apply(own, v[0], v[1], source[round % 2]);
#pragma unroll
      for (int part = 0; part < Out::kParts; part++) {
        u32 r[4] = {};
#pragma unroll
        for (int i = 0; i < kColumns; i++)
          r[i] = T::pack(v[part][2 * i], v[part][2 * i + 1]);
        ptx::stmatrix_trans(buffer + at(threadIdx.x % 32, 4 * part + threadIdx.x / 32 % 4), r);
      }
      ptx::warpgroup_sync();
#pragma unroll
      for (int i = 0; i < kChunks * kAtOnce / 128; i++) {
        const int token = (threadIdx.x % 128 + 128 * i) / kChunks, n = round * kAtOnce + token,
                  chunk = threadIdx.x % kChunks;
        if (n < Tokens && m0 + n < M)
          write(out.to(other, tokens[n]), buffer + at(token, chunk));
      }
    }
    ptx::warpgroup_sync(); // the next tile's tokens take the place of this one's
  }
  __device__ __forceinline__ void write(u64 to, const u8 *from) const {
    if (other.whole)
      return ptx::st_global((void *)to, *(const uint4 *)from);
#pragma unroll 1
    for (int i = 0; i < other.count; i++)
      ((u16 *)to)[i] = ((const u16 *)from)[i];
  }
};

// gemm_wgmma adds up K elements and has the results for rows m < M of x written, by
// Out::Writer. blocks counts 64 rows of W. steps: see KSteps; x: TMA tiles of Tokens/kAlong
// rows. w.block(i) says which 64 rows are block i: w.load(to, k, block, copy) copies 64
// elements from k on of them. Where K::kApart is set, the first steps.first() steps are bfloat16,
// and out.scale(c, m0, M, eight) changes their sums before the others are added.
template <class T, int Tokens, int Groups, int Stages, int Blocks, class K, class W, class Out>
static __device__ __forceinline__ void gemm_wgmma(WgmmaTile<Tokens, Groups, Stages, Blocks> tile_of, const K &steps,
                                                  const W &w, int M, int blocks, Out out) {
  using S = WgmmaTile<Tokens, Groups, Stages, Blocks>;
  u16 *stages = (u16 *)smem;
  u64 *full = (u64 *)(stages + Stages * S::kStage), *empty = full + Stages;
  u8 *exchange = (u8 *)(empty + Stages);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, rank = Blocks > 1 ? ptx::cluster_ctarank() : 0;
  if (threadIdx.x == 0) {
    for (int s = 0; s < Stages; s++) {
      ptx::mbarrier_init(full + s, Groups);
      ptx::mbarrier_init(empty + s, 4 * Groups * S::kReaders);
    }
    ptx::fence_mbarrier_init();
  }
  S::sync();
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const int across = ceil_div(M, Tokens * S::kAcross), tiles = across * ceil_div(blocks, Groups * S::kAlong);
  if (warp >= 4 * Groups) {
    if (Groups == 2)
      ptx::setmaxnreg_dec<40>();
    if (lane == 0 && warp < 5 * Groups)
      fill(tile_of, stages, full, empty, steps, w, across, tiles, rank, warp - 4 * Groups, out, M);
  } else {
    if (Groups == 2)
      ptx::setmaxnreg_inc<232>();
    const int group = warp / 4;
    const bool tells = lane < Blocks && S::reads(rank, lane);
    auto leave = [&](int stage) { // this warp has read it; every block that copies to it is told
      if (tells)
        ptx::mbarrier_arrive_cluster(empty + stage, lane);
    };
    Stage<Stages> s;
    for (int tile = blockIdx.x / Blocks; tile < tiles; tile += gridDim.x / Blocks) {
      float c[Tokens / 2] = {};
      ptx::warpgroup_fence_operand(c);
      int last = 0;
      auto multiply = [&](auto type, int from, int to) __attribute__((always_inline)) {
        using Type = decltype(type);
        for (int step = from; step < to; step++, s.next()) {
          const u16 *stage = stages + s.index * S::kStage;
          ptx::mbarrier_wait_parity(full + s.index, s.round & 1);
          const u64 a = K::kMNMajor ? ::across(stage + group * 64 * kTileK, 64 * kTileK)
                                    : descriptor(stage + group * 64 * kTileK),
                    b = descriptor(stage + S::kWeights);
          ptx::wgmma_fence();
#pragma unroll
          for (int k = 0; k < kTileK / 16; k++) // 32 bytes on, or 16 rows of 128
            if constexpr (K::kMNMajor)
              Type::wgmma_mn_major_a(c, a + 128 * k, b + 2 * k);
            else
              Type::wgmma(c, a + 2 * k, b + 2 * k);
          ptx::wgmma_commit();
          ptx::wgmma_wait<1>();
          if (step > from)
            leave(last);
          last = s.index;
        }
      };
      const int m0 = (tile % across * S::kAcross + S::beside(rank)) * Tokens,
                eight = ((tile / across * S::kAlong + S::along(rank)) * Groups + group) * 4;
      int from = 0;
      if constexpr (K::kApart)
        if (steps.first() > 0) {
          from = steps.first();
          multiply(BF16{}, 0, from);
          ptx::wgmma_wait<0>();
          ptx::warpgroup_fence_operand(c);
          leave(last);
          out.scale(c, m0, M, eight);
          ptx::warpgroup_fence_operand(c);
        }
      multiply(T{}, from, steps.count);
      auto results = Out::template Writer<T, Tokens>::make(out, exchange, m0, M, eight);
      results.start();
      ptx::wgmma_wait<0>();
      ptx::warpgroup_fence_operand(c);
      if (steps.count > from)
        leave(last);
      results.put(c);
    }
  }
  if (Blocks > 1) // the other's copies and arrivals come here
    ptx::cluster_sync();
}
template <class T, class Tile, class W, class Out>
static __device__ __forceinline__ void gemm_wgmma(Tile tile, const TensorMap *x, const W &w, int M, int blocks, int K,
                                                  Out out) {
  gemm_wgmma<T>(tile, KSteps(x, K), w, M, blocks, out);
}
#endif
