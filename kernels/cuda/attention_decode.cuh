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

// attention_decode is the whole kernel; its parameters are those of the kernels' files.
template <class T, int Width, class Reader>
static __device__ __forceinline__ void attention_decode(u16 *a, int lda, const u16 *q, int ldq,
                                                        typename Reader::Cache cache, const uint2 *positions,
                                                        int sequence, int group, int Dh, float scale, float *partial,
                                                        u32 *counters) {
  using E = typename Reader::Element;
  constexpr int kPositions = Reader::kPositions, kPitch = Partial<Width>::kPitch, kWords = Width / 64,
                kWarp = Reader::kWarp;
  static_assert(kWarp >= kGroup * kPitch && kWarp % 4 == 0);
  // Which row, split, KV head, query heads and columns of values this block has.
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, t = lane % 4;
  const int Dp = cache.Dp, groups = ceil_div(group, kGroup), slices = ceil_div(Dp, Width);
  const int n = blockIdx.z, part = blockIdx.x, unit = divide(blockIdx.y, slices), slice = blockIdx.y - unit * slices;
  const int kh = divide(unit, groups), in = (unit - kh * groups) * kGroup, h0 = kh * group + in,
            heads = min(kGroup, group - in);
  const int stride = min(kGroup, group); // heads that partial results have room for
  const int width = Dp + 63 & ~63, pitch = width + Reader::kQueryPadding;
  int *flags = (int *)smem;                         // number of splits; whether this block is the last of them
  float *sums = (float *)(flags + 4);               // [kAttentionWarps, kWarp]: values, then partial results
  u16 *qs = (u16 *)(sums + kAttentionWarps * kWarp); // queries [8, pitch]
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
  auto page = [&](int step) { return (const E *)table[min(step, end - 1) * kPositions / kPageSize] + Reader::part(cache, kh); };
  const Reader kv = {cache, pos, Reader::line(cache), slice * Width, lane};
  typename Reader::Keys k;
  float *vs = sums + warp * kWarp;
  const E *now = sequence < 0 || step != guess ? page(step) : (const E *)guessed + Reader::part(cache, kh),
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
    flags[0] = ceil_div(rounds, share);
  __syncthreads();

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
  auto store = [&](int j, int d, const Unnormalized &x) {
    if (d + slice * Width < Dh)
      a[(long long)n * lda + (h0 + j) * Dh + slice * Width + d] = narrow<T>(x.o / x.l);
  };
  const int counter = n * gridDim.y + blockIdx.y, splits = flags[0];
  float *all = partial + (long long)counter * gridDim.x * stride * kPitch;
  for (int i = tid; i < heads * Width; i += 32 * kAttentionWarps) {
    const int j = i / Width, d = i % Width;
    const Unnormalized x = merge_warps<Width, kWarp>(sums + j * kPitch, d);
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
  reduce_split_kv<Width, kWarp>(sums, all, splits, heads, stride);
  __syncthreads();
  for (int i = tid; i < heads * Width; i += 32 * kAttentionWarps)
    store(i / Width, i % Width, merge_warps<Width, kWarp>(sums + i / Width * kPitch, i % Width));
}
