// Decode attention: a[n,h] = softmax(q[n,h] . keys / sqrt(Dh)) values, over positions 0..pos of row
// n's sequence. Head h reads KV head h/(H/K). One block may take a split of the positions
// (split-KV), and the block that ends last combines the splits.
//
//   a, q [N, H*Dh] 16-bit, pitches lda, ldq
//   table [sequences, pages]  addresses of the KV cache's pages of 64 positions (types.cuh)
//   positions [N]             sequence and position of each row
//   sequence                  row n is of sequence + n; < 0: the sequence is in positions
//   group                     query heads per KV head;  scale: log2(e) / sqrt(Dh)
//   partial [N * gridDim.y, gridDim.x, min(group, 8), Width+4] f32: results of splits
//   counters [N * gridDim.y]  splits that have ended; zero before and after
//
// Grid: (splits, K * ceil(group/8) * ceil(Dh/Width), N), 256 threads. A block takes one split of a
// row's positions for up to eight query heads of one KV head, so that a position is read once,
// and Width columns of their values. Memory-bound: 4*K*Dh*T bytes and 4*H*Dh*T flops per row.
//
// Stages: load_q; then per step of 2048/Width positions and warp load_k (registers), compute_qk,
// update_softmax, load_v (shared memory), accumulate_v; then store_warp, merge_warps (shared
// memory) and reduce_split_kv. The next step's keys and values are in flight while a warp
// multiplies. Scores are a product with the heads as A operand, which leaves them where the
// second product has its B operand. Each weight enters that as two 16-bit numbers, the second
// what rounding the first left, so that only the rounding of sums is lost. Warps and splits are
// combined in their order. How positions fall to warps and splits follows from the row's own
// position, so the grid, which is for the longest row, does not change the bits.
//
// Versions, on an H100, 32 query and 32 KV heads of 128 (docs/performance/attention.md):
//   1. b8e3e79, the first GPU run: 128 positions 9173 ns (228.6 GB/s), 2048 21401 ns (1568 GB/s)
//   2. loads in flight during products, both products on tensor cores, one block up to 256
//      positions, parallel reduction: 4866 ns (431.0 GB/s), 13259 ns (2531 GB/s)
//   3. the first page's address is read together with the position: not measured alone
//   4. named stages, the same arithmetic: not measured
#include "types.cuh"

constexpr int kGroup = 8; // query heads a block takes
constexpr int kAttentionWarps = 8;
constexpr int kSingleBlockRounds = 2; // turns of all warps that one block takes for itself
constexpr int kMaxSplits = 16;        // of a row

// Split<Width> has the sizes that follow from the kernel's width. A partial result of one
// query head, of a warp or of a split, is Width sums of values weighted by 2^(score - m),
// then m, the largest score, then l, the sum of weights: kPitch floats with padding.
template <int Width> struct Split {
  static constexpr int kPositions = 2048 / Width;            // positions that a warp takes at a time
  static constexpr int kTiles = kPositions / 8;              // MMA tiles of eight positions in those
  static constexpr int kPitch = Width + 4;                   // floats of a partial result
  static constexpr int kValuePitch = Width + 8;              // elements between two positions' values
  static constexpr int kWarp = kPositions * kValuePitch / 2; // floats of shared memory of a warp
  static_assert(kWarp >= kGroup * kPitch && kWarp % 4 == 0);
};

// Unnormalized is one column of a head's output before the division by l.
struct Unnormalized {
  float o, m, l;
};

// KVReader reads keys and values of one KV head of one sequence.
template <int Width> struct KVReader {
  const KVCache &cache;
  int pos;    // the row's position, the last one that is read
  int line;   // elements from a position to the next within a page
  int column; // first column of values of this block
  int lane;

  // at returns where row r of a step begins in a page.
  __device__ __forceinline__ const u16 *at(const u16 *page, int step, int r) const {
    return page + (step * Split<Width>::kPositions % kPageSize + r) * line;
  }
  // key reads 16 bytes of the key of tile i, columns 32*c + 8*(lane%4); zeros past pos.
  __device__ __forceinline__ uint4 key(const u16 *page, int step, int i, int c) const {
    const int g = lane / 4, t = lane % 4;
    return ptx::ld_global_if(at(page, step, g) + 8 * t + 32 * c + 8 * i * line,
                             pos - step * Split<Width>::kPositions - g >= 8 * i && 8 * t + 32 * c < cache.Dp);
  }
  // load_k reads the first Width columns of a step's keys into registers.
  __device__ __forceinline__ void load_k(uint4 (&k)[Split<Width>::kTiles][Width / 32], const u16 *page,
                                         int step) const {
#pragma unroll
    for (int i = 0; i < Split<Width>::kTiles; i++)
#pragma unroll
      for (int c = 0; c < Width / 32; c++)
        k[i][c] = key(page, step, i, c);
  }
  // load_v starts the copy of a step's values to shared memory, vs [kPositions, kValuePitch].
  __device__ __forceinline__ void load_v(u16 *vs, const u16 *page, int step) const {
    constexpr int kChunks = Width / 8, kRows = 32 / kChunks; // rows that the warp copies at a time
    const int r = lane / kChunks, c = lane % kChunks;
    const u16 *from = at(page, step, r) + cache.values() + (column + 8 * c);
    const int left = column + 8 * c < cache.Dp ? pos - step * Split<Width>::kPositions - r : -1;
#pragma unroll
    for (int i = 0; i < 8; i++)
      ptx::cp_async(vs + (r + i * kRows) * Split<Width>::kValuePitch + 8 * c, from + i * kRows * line,
                    left >= i * kRows);
    ptx::cp_async_commit();
  }
};

// compute_qk multiplies the queries by a step's keys.
//   s     scores of query head lane/4, positions 2*(lane%4) and the next of each tile
//   q     this lane's row of queries in shared memory
//   k     the keys' first Width columns, from load_k
//   page, step  where wider heads read the remaining columns
template <class T, int Width>
static __device__ __forceinline__ void compute_qk(float (&s)[Split<Width>::kTiles][4], const u16 *q,
                                                  const uint4 (&k)[Split<Width>::kTiles][Width / 32],
                                                  const KVReader<Width> &kv, const u16 *page, int step) {
  auto multiply = [&](float(&s)[4], uint4 y, int k0) {
    uint4 z = *(const uint4 *)(q + k0);
    T::mma(s, z.x, 0, z.y, 0, y.x, y.y);
    T::mma(s, z.z, 0, z.w, 0, y.z, y.w);
  };
#pragma unroll
  for (int c = 0; c < Width / 32; c++)
#pragma unroll
    for (int i = 0; i < Split<Width>::kTiles; i++)
      multiply(s[i], k[i][c], 32 * c);
  if constexpr (Width == 128) // heads that are wider
    for (int c = Width / 32; 32 * c < kv.cache.Dp; c++)
#pragma unroll
      for (int i = 0; i < Split<Width>::kTiles; i++)
        multiply(s[i], kv.key(page, step, i, c), 32 * c);
}

// update_softmax scales and masks the scores, and brings the running maximum m, the sum of
// weights l and the sums of values o to the new maximum.
//   o     columns 16*i + lane/4 and 8 past it, query heads 2*(lane%4) and the next
//   m, l  of query head lane/4; l has this lane's positions only
//   left  positions from the step's first to the row's own
template <int Width>
static __device__ __forceinline__ void update_softmax(float (&s)[Split<Width>::kTiles][4], float (&o)[Width / 16][4],
                                                      float &m, float &l, int first, int pos, float scale, int t) {
  float top = m;
#pragma unroll
  for (int i = 0; i < Split<Width>::kTiles; i++)
#pragma unroll
    for (int e = 0; e < 2; e++) {
      s[i][e] = first + 8 * i + 2 * t + e <= pos ? s[i][e] * scale : -kInf;
      top = max(top, s[i][e]);
    }
  top = max(top, __shfl_xor_sync(0xffffffff, top, 1)), top = max(top, __shfl_xor_sync(0xffffffff, top, 2));
  const float r = ptx::exp2(m - top), r0 = __shfl_sync(0xffffffff, r, 8 * t),
              r1 = __shfl_sync(0xffffffff, r, 8 * t + 4);
  m = top, l *= r;
#pragma unroll
  for (int i = 0; i < Width / 16; i++)
    o[i][0] *= r0, o[i][1] *= r1, o[i][2] *= r0, o[i][3] *= r1;
}

// accumulate_v adds the step's values in shared memory to o, weighted by 2^(s - m). Each
// weight is two 16-bit numbers, the second what rounding the first left.
template <class T, int Width>
static __device__ __forceinline__ void accumulate_v(float (&o)[Width / 16][4], float &l, float m,
                                                    const float (&s)[Split<Width>::kTiles][4], const u16 *vs,
                                                    int lane) {
#pragma unroll
  for (int e = 0; e < Split<Width>::kTiles / 2; e++) {
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
      ptx::ldmatrix_trans(f, vs + (16 * e + lane / 16 * 8 + lane % 8) * Split<Width>::kValuePitch + 16 * i +
                                 lane / 8 % 2 * 8);
      T::mma(o[i], f[0], f[1], f[2], f[3], high[0], high[1]);
      T::mma(o[i], f[0], f[1], f[2], f[3], low[0], low[1]);
    }
  }
}

// store_warp writes a warp's partial results to shared memory, to [heads, kPitch].
template <int Width>
static __device__ __forceinline__ void store_warp(float *to, const float (&o)[Width / 16][4], float m, float l,
                                                  int heads, int lane) {
  const int g = lane / 4, t = lane % 4;
  l += __shfl_xor_sync(0xffffffff, l, 1), l += __shfl_xor_sync(0xffffffff, l, 2);
#pragma unroll
  for (int i = 0; i < 2 * (Width / 16); i++)
#pragma unroll
    for (int e = 0; e < 2; e++)
      if (2 * t + e < heads)
        to[(2 * t + e) * Split<Width>::kPitch + 8 * i + g] = o[i / 2][i % 2 * 2 + e];
  if (t == 0 && g < heads)
    *(float2 *)(to + g * Split<Width>::kPitch + Width) = {m, l};
}

// merge_warps combines column d of one head over the block's warps, in their order.
//   partial  the first warp's result in shared memory; the others lie kWarp floats apart
template <int Width> static __device__ __forceinline__ Unnormalized merge_warps(const float *partial, int d) {
  constexpr int kWarp = Split<Width>::kWarp;
  float m = -kInf, o = 0, l = 0;
#pragma unroll
  for (int w = 0; w < kAttentionWarps; w++)
    m = max(m, partial[w * kWarp + Width]);
#pragma unroll
  for (int w = 0; w < kAttentionWarps; w++) {
    float e = ptx::exp2(partial[w * kWarp + Width] - m);
    o += e * partial[w * kWarp + d], l += e * partial[w * kWarp + Width + 1];
  }
  return {o, m, l};
}

// reduce_split_kv combines the splits of a row: warp w takes splits w and w + 8 and leaves
// their result where merge_warps reads it.
//   sums    shared memory, kWarp floats a warp
//   part    the splits' partial results in global memory [splits, stride, kPitch]
//   heads   query heads of this block; stride: those that the layout has room for
template <int Width>
static __device__ __forceinline__ void reduce_split_kv(float *sums, const float *part, int splits, int heads,
                                                       int stride) {
  constexpr int kPitch = Split<Width>::kPitch, kEach = kMaxSplits / kAttentionWarps;
  constexpr int kHeads = 4; // kHeads * kEach loads are under way at a time
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const bool in = 4 * lane < Width;
  for (int j0 = 0; j0 < heads; j0 += kHeads) {
    float4 x[kHeads][kEach];
    float2 ml[kHeads][kEach];
#pragma unroll
    for (int j = 0; j < kHeads; j++)
#pragma unroll
      for (int i = 0; i < kEach; i++) {
        const int s = warp + i * kAttentionWarps;
        const float *row = part + (s * stride + j0 + j) * kPitch;
        x[j][i] = {0, 0, 0, 0}, ml[j][i] = {-kInf, 0};
        if (j0 + j < heads && s < splits) {
          ml[j][i] = *(const float2 *)(row + Width);
          if (in)
            x[j][i] = ptx::ld_global_f4(row + 4 * lane);
        }
      }
#pragma unroll
    for (int j = 0; j < kHeads; j++)
      if (j0 + j < heads) {
        float m = -kInf, l = 0;
        float4 o = {0, 0, 0, 0};
#pragma unroll
        for (int i = 0; i < kEach; i++)
          m = max(m, ml[j][i].x);
#pragma unroll
        for (int i = 0; i < kEach; i++) {
          float e = m == -kInf ? 0 : ptx::exp2(ml[j][i].x - m); // -inf: a warp without a split
          o.x += e * x[j][i].x, o.y += e * x[j][i].y, o.z += e * x[j][i].z, o.w += e * x[j][i].w;
          l += e * ml[j][i].y;
        }
        float *to = sums + warp * Split<Width>::kWarp + (j0 + j) * kPitch;
        if (in)
          *(float4 *)(to + 4 * lane) = o;
        if (lane == 0)
          to[Width] = m, to[Width + 1] = l;
      }
  }
}

static __device__ __forceinline__ int divide(int a, int b) { return b == 1 ? a : (u32)a / (u32)b; } // b is mostly 1

// attention_decode is the whole kernel; its parameters are those of the file's head.
template <class T, int Width>
static __device__ __forceinline__ void attention_decode(u16 *a, int lda, const u16 *q, int ldq, KVCache cache,
                                                        const uint2 *positions, int sequence, int group, int Dh,
                                                        float scale, float *partial, u32 *counters) {
  using S = Split<Width>;
  constexpr int kPositions = S::kPositions, kPitch = S::kPitch, kWords = Width / 64;
  // Which row, split, KV head, query heads and columns of values this block has.
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, t = lane % 4;
  const int K = cache.K, Dp = cache.Dp, groups = ceil_div(group, kGroup), slices = ceil_div(Dp, Width);
  const int n = blockIdx.z, part = blockIdx.x, unit = divide(blockIdx.y, slices), slice = blockIdx.y - unit * slices;
  const int kh = divide(unit, groups), in = (unit - kh * groups) * kGroup, h0 = kh * group + in,
            heads = min(kGroup, group - in);
  const int stride = min(kGroup, group); // heads that partial results have room for
  const int width = Dp + 63 & ~63, pitch = width + 32;
  int *flags = (int *)smem;                             // number of splits; whether this block is the last of them
  float *sums = (float *)(flags + 4);                   // [kAttentionWarps, kWarp]: values, then partial results
  u16 *qs = (u16 *)(sums + kAttentionWarps * S::kWarp); // queries [8, pitch]
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();

  // Where the sequence is known, the address of the first page is read together with the
  // position: of the step that this warp has, unless splits are longer than one round.
  const uint2 row = positions[n]; // sequence, position
  const int guess = part * kAttentionWarps + warp;
  const u64 *table = cache.table + (long long)(sequence < 0 ? 0 : sequence + n) * cache.pages;
  const u64 guessed = table[min(guess * kPositions / kPageSize, cache.pages - 1)];
  const int pos = row.y, steps = pos / kPositions + 1, rounds = ceil_div(steps, kAttentionWarps);
  const int share = rounds <= kSingleBlockRounds ? rounds : ceil_div(rounds, kMaxSplits);
  if (part * share >= rounds || guessed % 2) // an address is never odd: this makes the compiler load it now
    return;
  const int end = min(steps, (part + 1) * share * kAttentionWarps);

  // load_q: each warp reads one query head, two elements a lane.
  const u16 *from = q + (long long)n * ldq + (h0 + warp) * Dh;
  auto load_q = [&](int d) { return warp < heads && d < Dh ? *(const u32 *)(from + d) : 0; };
  u32 first[kWords];
#pragma unroll
  for (int i = 0; i < kWords; i++)
    first[i] = load_q(2 * lane + 64 * i);

  // The first keys and values.
  int step = part * share * kAttentionWarps + warp;
  if (sequence < 0)
    table = cache.table + (long long)row.x * cache.pages;
  auto page = [&](int step) { return (const u16 *)table[min(step, end - 1) * kPositions / kPageSize] + kh * Dp; };
  const KVReader<Width> kv = {cache, pos, K * Dp, slice * Width, lane};
  uint4 k[S::kTiles][Width / 32];
  u16 *vs = (u16 *)(sums + warp * S::kWarp);
  const u16 *now = sequence < 0 || step != guess ? page(step) : (const u16 *)guessed + kh * Dp,
            *next = page(step + kAttentionWarps);
  if (step < end)
    kv.load_k(k, now, step), kv.load_v(vs, now, step);

  u16 *mine = qs + warp * pitch;
#pragma unroll
  for (int i = 0; i < kWords; i++)
    *(u32 *)(mine + 2 * lane + 64 * i) = first[i];
  for (int d = Width + 2 * lane; d < width; d += 64)
    *(u32 *)(mine + d) = load_q(d);
  if (tid == 0)
    flags[0] = ceil_div(rounds, share);
  __syncthreads();

  // This warp's steps. Keys and values of the next step are under way while it multiplies.
  float o[Width / 16][4] = {}, m = -kInf, l = 0;
  while (step < end) {
    const int ahead = step + kAttentionWarps;
    float s[S::kTiles][4] = {};
    compute_qk<T, Width>(s, qs + g * pitch + 8 * t, k, kv, now, step);
    if (ahead < end)
      kv.load_k(k, next, ahead);
    update_softmax<Width>(s, o, m, l, step * kPositions, pos, scale, t);
    ptx::cp_async_wait<0>();
    __syncwarp();
    accumulate_v<T, Width>(o, l, m, s, vs, lane);
    __syncwarp();
    if (ahead < end)
      kv.load_v(vs, next, ahead);
    step = ahead, now = next, next = page(step + kAttentionWarps);
  }
  store_warp<Width>(sums + warp * S::kWarp, o, m, l, heads, lane);
  __syncthreads();

  // The block's result: the output where the row has one split, else a partial result.
  auto store = [&](int j, int d, const Unnormalized &x) {
    if (d + slice * Width < Dh)
      a[(long long)n * lda + (h0 + j) * Dh + slice * Width + d] = narrow<T>(x.o / x.l);
  };
  const int counter = n * gridDim.y + blockIdx.y, splits = flags[0];
  float *all = partial + (long long)counter * gridDim.x * stride * kPitch;
  for (int i = tid; i < heads * Width; i += 32 * kAttentionWarps) {
    const int j = i / Width, d = i % Width;
    const Unnormalized x = merge_warps<Width>(sums + j * kPitch, d);
    if (splits == 1) {
      store(j, d, x);
      continue;
    }
    float *to = all + (part * stride + j) * kPitch;
    to[d] = x.o;
    if (d == 0)
      to[Width] = x.m, to[Width + 1] = x.l;
  }
  if (splits == 1)
    return;

  // The block that ends last combines the splits.
  __syncthreads();
  if (tid == 0) { // the barrier ordered what the other threads wrote
    flags[1] = ptx::atom_add_acq_rel(counters + counter, 1) == (u32)(splits - 1);
    if (flags[1])
      counters[counter] = 0;
  }
  __syncthreads();
  if (!flags[1])
    return;
  reduce_split_kv<Width>(sums, all, splits, heads, stride);
  __syncthreads();
  for (int i = tid; i < heads * Width; i += 32 * kAttentionWarps)
    store(i / Width, i % Width, merge_warps<Width>(sums + i / Width * kPitch, i % Width));
}

#define ATTENTION_DECODE(T, name, width)                                                                              \
  extern "C" __global__ void __launch_bounds__(32 * kAttentionWarps, 2) attention_decode_##width##_##name(            \
      u16 *a, int lda, const u16 *q, int ldq, const u64 *table, int pages, const uint2 *positions, int sequence,      \
      int group, int K, int Dh, float scale, float *partial, u32 *counters) {                                         \
    attention_decode<T, width>(a, lda, q, ldq, {table, pages, K, Dh + 7 & ~7}, positions, sequence, group, Dh, scale, \
                               partial, counters);                                                                    \
  }
ATTENTION_DECODE(BF16, bf16, 64)
ATTENTION_DECODE(F16, f16, 64)
ATTENTION_DECODE(BF16, bf16, 128)
ATTENTION_DECODE(F16, f16, 128)
