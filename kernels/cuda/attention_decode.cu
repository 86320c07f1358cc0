// Decode attention: a[n,h] = softmax(q[n,h] . keys / sqrt(Dh)) values, over positions 0..pos of row
// n's sequence. Head h reads KV head h/(H/K). One block may take a split of the positions
// (split-KV), and the block that ends last combines the splits.
//
//   a, q [N, H*Dh] 16-bit, pitches lda, ldq
//   table [sequences, pages]  addresses of the KV cache's pages of 64 positions (types.cuh)
//   positions [N]             sequence and position of each row
//   sequence                  row n is of sequence + n; < 0: the sequence is in positions
//   group                     query heads per KV head;  scale: log2(e) / sqrt(Dh)
//   partial [N * gridDim.y, room, min(group, 8), Width+4] f32: results of splits
//   counters [N * gridDim.y]  splits that have ended; zero before and after
//   rows, room                N; the splits that a row may have, gridDim.x of attention_decode_*
//
// attention_decode_*: grid (splits, K * ceil(group/8) * ceil(Dh/Width), N), 256 threads. A block takes
// one split of a row's positions for up to eight query heads of one KV head, so that a position is
// read once, and Width columns of their values. Memory-bound: 4*K*Dh*T bytes and 4*H*Dh*T flops per
// row.
// attention_decode_balanced_*: grid (any number, the same, 1). Blocks have equal shares of the splits
// of all rows, one after another, so that none is without work where rows have fewer splits than
// the longest.
//
// Stages: load_q; then per step of 2048/Width positions and warp load_k (registers), compute_qk,
// update_softmax, load_v (shared memory), accumulate_v; then store_warp, merge_warps (shared
// memory) and reduce_split_kv. The next step's keys and values are in flight while a warp
// multiplies. Scores are a product with the heads as A operand, which leaves them where the
// second product has its B operand. Each weight enters that as two 16-bit numbers, the second
// what rounding the first left, so that only the rounding of sums is lost. Warps and splits are
// combined in their order. How positions fall to warps and splits follows from the row's own
// position, so the grid does not change the bits.
//
// Versions, on an H100, 32 query and 32 KV heads of 128 (docs/performance/attention.md):
//   1. b8e3e79, the first GPU run: 128 positions 9173 ns (228.6 GB/s), 2048 21401 ns (1568 GB/s)
//   2. loads in flight during products, both products on tensor cores, one block up to 256
//      positions, parallel reduction: 4866 ns (431.0 GB/s), 13259 ns (2531 GB/s)
//   3. the first page's address is read together with the position: not measured alone
//   4. named stages, the same arithmetic: not measured
//   5. attention_decode_balanced_* for many rows: not measured
#include "attention_decode.cuh"

// HalfReader is the Reader (attention_decode.cuh) of a cache of 16 bits.
template <int Width> struct HalfReader {
  using Cache = KVCache;
  using Element = u16;
  static constexpr int kPositions = 2048 / Width;            // positions that a warp takes at a time
  static constexpr int kTiles = kPositions / 8;              // MMA tiles of eight positions in those
  static constexpr int kValuePitch = Width + 8;              // elements between two positions' values
  static constexpr int kWarp = kPositions * kValuePitch / 2; // floats of shared memory of a warp
  static constexpr int kPerLane = 8, kQueryPadding = 32;
  static constexpr bool kScaled = false;
  using Keys = uint4[kTiles][Width / 32];
  const KVCache &cache;
  int pos;     // the row's position, the last one that is read
  int stride;  // elements from a position to the next within a page
  int column0; // first column of values of this block
  int lane;
  static __device__ __forceinline__ int part(const KVCache &cache, int head) { return head * cache.Dp; }
  static __device__ __forceinline__ int line(const KVCache &cache) { return cache.K * cache.Dp; }

  // at returns where row r of a step begins in a page.
  __device__ __forceinline__ const u16 *at(const u16 *page, int step, int r) const {
    return page + (step * kPositions % kPageSize + r) * stride;
  }
  // key reads 16 bytes of the key of tile i, columns 32*c + 8*(lane%4); zeros past pos.
  __device__ __forceinline__ uint4 key(const u16 *page, int step, int i, int c) const {
    const int g = lane / 4, t = lane % 4;
    return ptx::ld_global_if(at(page, step, g) + 8 * t + 32 * c + 8 * i * stride,
                             pos - step * kPositions - g >= 8 * i && 8 * t + 32 * c < cache.Dp);
  }
  // load_k reads the first Width columns of a step's keys into registers.
  __device__ __forceinline__ void load_k(Keys &k, const u16 *page, int step) const {
#pragma unroll
    for (int i = 0; i < kTiles; i++)
#pragma unroll
      for (int c = 0; c < Width / 32; c++)
        k[i][c] = key(page, step, i, c);
  }
  // load_v starts the copy of a step's values to shared memory, vs [kPositions, kValuePitch].
  __device__ __forceinline__ void load_v(float *vs, const u16 *page, int step) const {
    constexpr int kChunks = Width / 8, kRows = 32 / kChunks; // rows that the warp copies at a time
    const int r = lane / kChunks, c = lane % kChunks;
    const u16 *from = at(page, step, r) + cache.values() + (column0 + 8 * c);
    const int left = column0 + 8 * c < cache.Dp ? pos - step * kPositions - r : -1;
#pragma unroll
    for (int i = 0; i < 8; i++)
      ptx::cp_async((u16 *)vs + (r + i * kRows) * kValuePitch + 8 * c, from + i * kRows * stride, left >= i * kRows);
    ptx::cp_async_commit();
  }
  static __device__ __forceinline__ void store_query(u16 *q, int d, u32 two) { *(u32 *)(q + d) = two; }

  // compute_qk multiplies the queries by a step's keys.
  //   s     scores of query head lane/4, positions 2*(lane%4) and the next of each tile
  //   q     this lane's row of queries in shared memory
  //   k     the keys' first Width columns, from load_k
  //   page, step  where wider heads read the remaining columns
  template <class T>
  __device__ __forceinline__ void compute_qk(float (&s)[kTiles][4], const u16 *q, const Keys &k, const u16 *page,
                                             int step) const {
    auto multiply = [&](float(&s)[4], uint4 y, int k0) {
      uint4 z = *(const uint4 *)(q + k0);
      T::mma(s, z.x, 0, z.y, 0, y.x, y.y);
      T::mma(s, z.z, 0, z.w, 0, y.z, y.w);
    };
#pragma unroll
    for (int c = 0; c < Width / 32; c++)
#pragma unroll
      for (int i = 0; i < kTiles; i++)
        multiply(s[i], k[i][c], 32 * c);
    if constexpr (Width == 128) // heads that are wider
      for (int c = Width / 32; 32 * c < cache.Dp; c++)
#pragma unroll
        for (int i = 0; i < kTiles; i++)
          multiply(s[i], key(page, step, i, c), 32 * c);
  }

  // accumulate_v adds the step's values in shared memory to o, weighted by 2^(s - m). Each
  // weight is two 16-bit numbers, the second what rounding the first left.
  //   o     columns 16*i + lane/4 and 8 past it, query heads 2*(lane%4) and the next
  template <class T>
  static __device__ __forceinline__ void accumulate_v(float (&o)[Width / 16][4], float &l, float m,
                                                      const float (&s)[kTiles][4], const float *vs, int lane) {
#pragma unroll
    for (int e = 0; e < kTiles / 2; e++) {
      u32 high[2], low[2]; // weights of positions 2t, 2t+1 and 2t+8, 2t+9
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const float x = ptx::exp2(s[2 * e + i][0] - m), y = ptx::exp2(s[2 * e + i][1] - m);
        l += x + y;
        high[i] = T::pack(x, y);
        low[i] = T::pack(x - T::widen((u16)high[i]), y - T::widen((u16)(high[i] >> 16)));
      }
#pragma unroll
      for (int i = 0; i < Width / 16; i++) {
        u32 f[4];
        ptx::ldmatrix_trans(f, (const u16 *)vs + (16 * e + lane / 16 * 8 + lane % 8) * kValuePitch + 16 * i +
                                   lane / 8 % 2 * 8);
        T::mma(o[i], f[0], f[1], f[2], f[3], high[0], high[1]);
        T::mma(o[i], f[0], f[1], f[2], f[3], low[0], low[1]);
      }
    }
  }
  static __device__ __forceinline__ int column(int i, int g) { return 8 * i + g; }
};

#define ATTENTION_DECODE(T, name, width)                                                                              \
  extern "C" __global__ void __launch_bounds__(32 * kAttentionWarps, 2) attention_decode_##width##_##name(            \
      u16 *a, int lda, const u16 *q, int ldq, const u64 *table, int pages, const uint2 *positions, int sequence,      \
      int group, int K, int Dh, float scale, float *partial, u32 *counters) {                                         \
    attention_decode<T, width, HalfReader<width>>(a, lda, q, ldq, {table, pages, K, Dh + 7 & ~7}, positions,          \
                                                  sequence, group, Dh, scale, partial, counters);                     \
  }                                                                                                                   \
  extern "C" __global__ void __launch_bounds__(32 * kAttentionWarps, 2) attention_decode_balanced_##width##_##name(   \
      u16 *a, int lda, const u16 *q, int ldq, const u64 *table, int pages, const uint2 *positions, int rows,          \
      int room, int group, int K, int Dh, float scale, float *partial, u32 *counters) {                               \
    attention_decode_balanced<T, width, HalfReader<width>>(a, lda, q, ldq, {table, pages, K, Dh + 7 & ~7}, positions, \
                                                           rows, room, group, Dh, scale, partial, counters);          \
  }
ATTENTION_DECODE(BF16, bf16, 64)
ATTENTION_DECODE(F16, f16, 64)
ATTENTION_DECODE(BF16, bf16, 128)
ATTENTION_DECODE(F16, f16, 128)
