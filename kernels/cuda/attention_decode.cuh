// What decode attention (attention_decode.cu, attention_decode_i8.cu) does whatever the type of
// the KV cache: the walk over the positions, the softmax, and the combination of warps and splits.
//
// A Reader<Width> reads keys and values of one KV head of one sequence, and multiplies them:
//   Cache, Element         where the pages are; a stored number
//   part(cache, head)      elements from a page to the head's part of it
//   line(cache)            elements from a position to the next within a page
//   kPositions, kTiles     positions that a warp takes at a time; MMA tiles of eight in those
//   kWarp                  floats of shared memory of a warp: values, then partial results
//   kPerLane               elements of a query that a lane reads together
//   kQueryPadding          elements between two queries, past a multiple of 64
//   kScaled                whether scores have scales, which come with the values
//   Keys, load_k, load_v   a step's keys in registers; its values to shared memory
//   store_query            puts two elements of a query into shared memory
//   compute_qk, scale_scores, accumulate_v
//   column(i, g)           the column of values of o[i/2][i%2*2] in lanes 4*g to 4*g+3
#pragma once
#include "types.cuh"

constexpr int kGroup = 8; // query heads a block takes
constexpr int kAttentionWarps = 8;
constexpr int kSingleBlockRounds = 2; // turns of all warps that one block takes for itself
constexpr int kMaxSplits = 16;        // of a row

// Partial<Width> is a partial result of one query head, of a warp or of a split: Width sums of
// values weighted by 2^(score - m), then m, the largest score, then l, the sum of weights.
template <int Width> struct Partial {
  static constexpr int kPitch = Width + 4; // floats, with padding
};

// Unnormalized is one column of a head's output before the division by l.
struct Unnormalized {
  float o, m, l;
};

// update_softmax scales and masks the scores, and brings the running maximum m, the sum of
// weights l and the sums of values o to the new maximum.
//   s     scores of query head lane/4, positions 2*(lane%4) and the next of each tile
//   o     query heads 2*(lane%4) and the next
//   m, l  of query head lane/4; l has this lane's positions only
//   first the step's first position; pos: the row's own
template <int Tiles, int Columns>
static __device__ __forceinline__ void update_softmax(float (&s)[Tiles][4], float (&o)[Columns][4], float &m, float &l,
                                                      int first, int pos, float scale, int t) {
  float top = m;
#pragma unroll
  for (int i = 0; i < Tiles; i++)
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
  for (int i = 0; i < Columns; i++)
    o[i][0] *= r0, o[i][1] *= r1, o[i][2] *= r0, o[i][3] *= r1;
}

// store_warp writes a warp's partial results to shared memory, to [heads, kPitch].
template <class Reader, int Width>
static __device__ __forceinline__ void store_warp(float *to, const float (&o)[Width / 16][4], float m, float l,
                                                  int heads, int lane) {
  constexpr int kPitch = Partial<Width>::kPitch;
  const int g = lane / 4, t = lane % 4;
  l += __shfl_xor_sync(0xffffffff, l, 1), l += __shfl_xor_sync(0xffffffff, l, 2);
#pragma unroll
  for (int i = 0; i < 2 * (Width / 16); i++)
#pragma unroll
    for (int e = 0; e < 2; e++)
      if (2 * t + e < heads)
        to[(2 * t + e) * kPitch + Reader::column(i, g)] = o[i / 2][i % 2 * 2 + e];
  if (t == 0 && g < heads)
    *(float2 *)(to + g * kPitch + Width) = {m, l};
}

// merge_warps combines column d of one head over the block's warps, in their order.
//   partial  the first warp's result in shared memory; the others lie kWarp floats apart
template <int Width, int kWarp>
static __device__ __forceinline__ Unnormalized merge_warps(const float *partial, int d) {
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
template <int Width, int kWarp>
static __device__ __forceinline__ void reduce_split_kv(float *sums, const float *part, int splits, int heads,
                                                       int stride) {
  constexpr int kPitch = Partial<Width>::kPitch, kEach = kMaxSplits / kAttentionWarps;
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
        float *to = sums + warp * kWarp + (j0 + j) * kPitch;
        if (in)
          *(float4 *)(to + 4 * lane) = o;
        if (lane == 0)
          to[Width] = m, to[Width + 1] = l;
      }
  }
}

static __device__ __forceinline__ int divide(int a, int b) { return b == 1 ? a : (u32)a / (u32)b; } // b is mostly 1

// Splits says how a row's positions are cut, which its own position alone decides.
template <int Positions> struct Splits {
  int steps, rounds, share; // of Positions; of all warps; rounds of a split
  __device__ __forceinline__ explicit Splits(int pos) {
    steps = pos / Positions + 1, rounds = ceil_div(steps, kAttentionWarps);
    share = rounds <= kSingleBlockRounds ? rounds : ceil_div(rounds, kMaxSplits);
  }
  __device__ __forceinline__ int count() const { return ceil_div(rounds, share); }
  // cost of a split, in rounds: one for its beginning and its end. The bound keeps sums of 128
  // rows times blocks in 32 bits.
  __device__ __forceinline__ int cost() const { return min(share, 511) + 1; }
};

// A block's share of the splits of many rows: splits lie on a line in the order of rows, as long as
// they cost; blocks have equal parts of it, and take the splits that begin there. at: row times
// kMaxSplits plus split; left: how much of the block's part lies after its beginning.
struct Share {
  int at, left;
};

// find_share finds this block's share of up to 128 rows, with a warp.
template <int Positions>
static __device__ __forceinline__ Share find_share(const uint2 *positions, int rows, int lane) {
  constexpr int kRows = 4; // of a lane
  int cost[kRows], sum = 0;
#pragma unroll
  for (int i = 0; i < kRows; i++) {
    const int row = kRows * lane + i;
    const Splits<Positions> s(row < rows ? positions[row].y : 0);
    cost[i] = row < rows ? s.count() * s.cost() : 0;
    sum += cost[i];
  }
  int end = sum;
#pragma unroll
  for (int d = 1; d < 32; d *= 2) {
    const int before = __shfl_sync(0xffffffff, end, max(lane - d, 0));
    end += lane >= d ? before : 0;
  }
  const u32 total = (u32)__shfl_sync(0xffffffff, end, 31);
  const int from = total * blockIdx.x / gridDim.x, to = total * (blockIdx.x + 1) / gridDim.x;
  // The row in whose splits the part begins: of the first lane that ends past it.
  u32 owner = end <= from;
#pragma unroll
  for (int d = 1; d < 32; d *= 2)
    owner += __shfl_xor_sync(0xffffffff, owner, d);
  int row = kRows * lane, at = end - sum;
#pragma unroll
  for (int i = 0; i < kRows - 1; i++)
    if (row == kRows * lane + i && at + cost[i] <= from)
      row++, at += cost[i];
  row = __shfl_sync(0xffffffff, row, owner), at = __shfl_sync(0xffffffff, at, owner);
  const Splits<Positions> s(positions[row].y);
  int part = ceil_div(from - at, s.cost());
  at += part * s.cost();
  if (part == s.count())
    row++, part = 0;
  return {row * kMaxSplits + part, to - at};
}

// attention_split computes one split, that of the block in the grid or (Balanced) the one that share
// is at.
template <bool Balanced, class T, int Width, class Reader>
static __device__ __forceinline__ void
attention_split(u16 *a, int lda, const u16 *q, int ldq, typename Reader::Cache cache, const uint2 *positions,
                int sequence, int group, int Dh, float scale, float *partial, u32 *counters, int room, Share *share) {
  using E = typename Reader::Element;
  constexpr int kPositions = Reader::kPositions, kPitch = Partial<Width>::kPitch, kWords = Width / 64,
                kWarp = Reader::kWarp;
  static_assert(kWarp >= kGroup * kPitch && kWarp % 4 == 0);
  // Which row, split, KV head, query heads and columns of values this block has. In a loop over
  // splits all of it is found anew for each: there are no registers to keep it in.
  const int tid = Balanced ? (int)ptx::opaque(threadIdx.x) : threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4,
            t = lane % 4;
  const int Dp = cache.Dp, groups = ceil_div(group, kGroup), slices = ceil_div(Dp, Width);
  const int y = Balanced ? (int)ptx::opaque(blockIdx.y) : blockIdx.y, unit = divide(y, slices), slice = y - unit * slices;
  auto own_row = [&] { return Balanced ? share->at / kMaxSplits : (int)blockIdx.z; };
  auto own_part = [&] { return Balanced ? share->at % kMaxSplits : (int)blockIdx.x; };
  const int kh = divide(unit, groups), in = (unit - kh * groups) * kGroup, h0 = kh * group + in,
            heads = min(kGroup, group - in);
  const int stride = min(kGroup, group); // heads that partial results have room for
  const int width = Dp + 63 & ~63, pitch = width + Reader::kQueryPadding;
  int *flags = (int *)smem;                         // number of splits; whether this block is the last of them; Share
  float *sums = (float *)(flags + 4);               // [kAttentionWarps, kWarp]: values, then partial results
  u16 *qs = (u16 *)(sums + kAttentionWarps * kWarp); // queries [8, pitch]

  // Where the sequence is known, the address of the first page is read together with the
  // position: of the step that this warp has, unless splits are longer than one round.
  const int n = own_row(), part = own_part();
  const uint2 row = positions[n]; // sequence, position
  const int guess = part * kAttentionWarps + warp;
  const u64 *table = cache.table;
  u64 guessed = 0;
  if (!Balanced) {
    table += (long long)(sequence < 0 ? 0 : sequence + n) * cache.pages;
    guessed = table[min(guess * kPositions / kPageSize, cache.pages - 1)];
  }
  const int pos = row.y;
  const Splits<kPositions> split(pos);
  if (part * split.share >= split.rounds || guessed % 2) // an address is never odd: this makes the compiler load it now
    return;
  const int end = min(split.steps, (part + 1) * split.share * kAttentionWarps);

  // load_q: each warp reads one query head, two elements a lane.
  const u16 *from = q + (long long)n * ldq + (h0 + warp) * Dh;
  auto load_q = [&](int d) { return warp < heads && d < Dh ? *(const u32 *)(from + d) : 0; };
  u32 first[kWords];
#pragma unroll
  for (int i = 0; i < kWords; i++)
    first[i] = load_q(2 * lane + 64 * i);

  // The first keys and values.
  int step = part * split.share * kAttentionWarps + warp;
  if (Balanced || sequence < 0)
    table = cache.table + (long long)row.x * cache.pages;
  auto page = [&](int step) { return (const E *)table[min(step, end - 1) * kPositions / kPageSize] + Reader::part(cache, kh); };
  const Reader kv = {cache, pos, Reader::line(cache), slice * Width, lane};
  typename Reader::Keys k;
  float *vs = sums + warp * kWarp;
  const E *now = Balanced || sequence < 0 || step != guess ? page(step) : (const E *)guessed + Reader::part(cache, kh),
          *next = page(step + kAttentionWarps);
  if (step < end)
    kv.load_k(k, now, step), kv.load_v(vs, now, step);

  u16 *mine = qs + warp * pitch;
#pragma unroll
  for (int i = 0; i < kWords; i++)
    Reader::store_query(mine, 2 * lane + 64 * i, first[i]);
  for (int d = Width + 2 * lane; d < width; d += 64)
    Reader::store_query(mine, d, load_q(d));
  if (tid == 0)
    flags[0] = split.count();
  __syncthreads();
  if (Balanced && tid == 0) // all have read it
    share->left -= split.cost();

  // This warp's steps. Keys and values of the next step are under way while it multiplies.
  float o[Width / 16][4] = {}, m = -kInf, l = 0;
  while (step < end) {
    const int ahead = step + kAttentionWarps;
    float s[Reader::kTiles][4] = {};
    kv.template compute_qk<T>(s, qs + g * pitch + Reader::kPerLane * t, k, now, step);
    if (ahead < end)
      kv.load_k(k, next, ahead);
    auto wait_for_values = [] {
      ptx::cp_async_wait<0>();
      __syncwarp();
    };
    if constexpr (Reader::kScaled) {
      wait_for_values();
      Reader::scale_scores(s, vs, t);
    }
    update_softmax(s, o, m, l, step * kPositions, pos, scale, t);
    if constexpr (!Reader::kScaled)
      wait_for_values();
    Reader::template accumulate_v<T>(o, l, m, s, vs, lane);
    __syncwarp();
    if (ahead < end)
      kv.load_v(vs, next, ahead);
    step = ahead, now = next, next = page(step + kAttentionWarps);
  }
  store_warp<Reader, Width>(vs, o, m, l, heads, lane);
  __syncthreads();

  // The block's result: the output where the row has one split, else a partial result.
  const int to_row = own_row(), to_part = own_part(); // again: there were no registers to keep them in
  auto store = [&](int j, int d, const Unnormalized &x) {
    if (d + slice * Width < Dh)
      a[(long long)to_row * lda + (h0 + j) * Dh + slice * Width + d] = narrow<T>(x.o / x.l);
  };
  const int counter = to_row * gridDim.y + y, splits = flags[0];
  float *all = partial + (long long)counter * room * stride * kPitch;
  for (int i = tid; i < heads * Width; i += 32 * kAttentionWarps) {
    const int j = i / Width, d = i % Width;
    const Unnormalized x = merge_warps<Width, kWarp>(sums + j * kPitch, d);
    if (splits == 1) {
      store(j, d, x);
      continue;
    }
    float *to = all + (to_part * stride + j) * kPitch;
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
  reduce_split_kv<Width, kWarp>(sums, all, splits, heads, stride);
  __syncthreads();
  for (int i = tid; i < heads * Width; i += 32 * kAttentionWarps)
    store(i / Width, i % Width, merge_warps<Width, kWarp>(sums + i / Width * kPitch, i % Width));
}

// attention_decode is a kernel whose blocks have one split each, attention_decode_balanced one
// whose blocks have equal shares of all; the parameters are those of the kernels' files.
template <class T, int Width, class Reader>
static __device__ __forceinline__ void attention_decode(u16 *a, int lda, const u16 *q, int ldq,
                                                        typename Reader::Cache cache, const uint2 *positions,
                                                        int sequence, int group, int Dh, float scale, float *partial,
                                                        u32 *counters) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  attention_split<false, T, Width, Reader>(a, lda, q, ldq, cache, positions, sequence, group, Dh, scale, partial,
                                           counters, gridDim.x, nullptr);
}

template <class T, int Width, class Reader>
static __device__ __forceinline__ void
attention_decode_balanced(u16 *a, int lda, const u16 *q, int ldq, typename Reader::Cache cache, const uint2 *positions,
                          int rows, int room, int group, int Dh, float scale, float *partial, u32 *counters) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  int *flags = (int *)smem; // of attention_split
  Share *share = (Share *)(flags + 2);
  if (threadIdx.x < 32) {
    const Share mine = find_share<Reader::kPositions>(positions, rows, threadIdx.x);
    if (threadIdx.x == 0)
      *share = mine;
  }
  for (;;) {
    __syncthreads();
    if (share->left <= 0)
      return;
    attention_split<true, T, Width, Reader>(a, lda, q, ldq, cache, positions, -1, group, Dh, scale, partial, counters,
                                            room, share);
    __syncthreads();
    if (threadIdx.x == 0) {
      const int row = share->at / kMaxSplits, next = share->at % kMaxSplits + 1;
      share->at = next == flags[0] ? (row + 1) * kMaxSplits : row * kMaxSplits + next;
    }
  }
}
