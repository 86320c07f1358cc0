// Prefill attention of sm_90a (attention_prefill.cu): tiles of 128 queries, steps of 128 keys.
// Two warpgroups of 64 queries each multiply; two others copy keys and values to a pipeline of
// five slots, each of a step's keys or its values, every other slot the one, and the
// queries of the next tile. Blocks stay and take tiles in turn, whose steps are one stream:
// the first scores of a tile are made beside the last values of the one before.
//
// Scores are queries by keys, both of shared memory; weights stay in registers, as scores
// lie, and multiply values that lie across. A row's steps begin at position 0, whatever
// the tile: its bits do not depend on the tile.
//
// Bound of a step at Width 128, versions and measurements: docs/performance/attention.md.
#pragma once
#include "gemm_wgmma.cuh"

// Queries is a tile: activation rows row..row+count-1 are positions pos.. of seq. Those
// that see most come first.
struct Queries {
  int row, count, pos, seq;
};

#ifdef HOPPER
constexpr int kTile = 128; // queries of a tile, keys of a step

template <int Width> struct AttentionSmem {
  static constexpr int kPanel = kTile * kTileK; // 128 rows of 64 elements, swizzled as in gemm_wgmma.cuh
  static constexpr int kSlot = Width / kTileK * kPanel, kSlots = 5;
  u16 *queries, *slots;             // queries of this tile and of the next
  u64 *full, *empty;                // [kSlots]
  u64 *queries_full, *queries_free; // [2]
  u64 *order;                       // [2], of the warpgroups that multiply
  __device__ __forceinline__ AttentionSmem() {
    queries = (u16 *)smem, slots = queries + 2 * kSlot;
    full = (u64 *)(slots + kSlots * kSlot), empty = full + kSlots, queries_full = empty + kSlots,
    queries_free = queries_full + 2, order = queries_free + 2;
  }
};

// TileScheduler says which tiles are a block's: rounds of as many as there are blocks, every
// other round in reverse, so that who had the longest of one has the shortest of the next.
struct TileScheduler {
  int round = 0;
  __device__ __forceinline__ int tile() const {
    return round * gridDim.x + (round % 2 ? gridDim.x - 1 - blockIdx.x : blockIdx.x);
  }
};

// A warp copies four rows of a panel at a time, a lane a chunk.
constexpr int kRows = 4;
static __device__ __forceinline__ int row_of() { return threadIdx.x % 32 / 8; }
static __device__ __forceinline__ u16 *chunk_of(u16 *panel, int row) {
  return panel + row * kTileK + (threadIdx.x % 8 ^ row % 8) * 8;
}

// copied tells b that all that this warp copied is there.
static __device__ __forceinline__ void copied(u64 *b) {
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  ptx::fence_proxy_async();
  __syncwarp();
  if (threadIdx.x % 32 == 0)
    ptx::mbarrier_arrive(b);
}

// KVStep is the keys of a step, or their values: positions at.. of a sequence, of which a tile
// sees those before end.
struct KVStep {
  int seq, head, at, end;
};

// A KVLoader is a warp of two teams, of four each, that fill every other slot: it copies 32
// of the slot's rows.
template <int Width> struct KVLoader {
  using A = AttentionSmem<Width>;
  const A &my;
  const KVCache &cache;
  int row0;   // of this thread's
  bool other; // the next slot is the other team's
  Stage<A::kSlots> s;

  __device__ __forceinline__ void fill(const KVStep &keys, bool values) {
    if (!other)
      copy(keys, values);
    other = !other;
    s.next();
  }
  __device__ __forceinline__ void copy(const KVStep &keys, bool values) const {
    const int c = threadIdx.x % 8, left = keys.end - keys.at - row0;
    const u16 *from =
        cache.key({keys.seq, left > 0 ? keys.at + row0 : keys.at}, keys.head) + (values ? cache.values() : 0);
    if (s.round > 0)
      ptx::mbarrier_wait_parity(my.empty + s.index, s.round - 1 & 1);
    u16 *even = chunk_of(my.slots + s.index * A::kSlot, row0),
        *odd = chunk_of(my.slots + s.index * A::kSlot, row0 + kRows);
#pragma unroll 1
    for (int column = c * 8; column < Width; column += kTileK) {
      const int rows = column < cache.Dp ? left : 0, step = rows > 0 ? kRows * cache.K * cache.Dp : 0;
      const u16 *chunk = from + (rows > 0 ? column : 0);
#pragma unroll
      for (int r = 0; r < 32; r += kRows, chunk += step)
        ptx::cp_async((r % 8 == 0 ? even : odd) + r / 8 * 8 * kTileK, chunk, r < rows);
      even += A::kPanel, odd += A::kPanel;
    }
    copied(my.full + s.index);
  }
};

// copy_queries fills this warp's 16 rows of the queries' slot.
template <int Width>
static __device__ __forceinline__ void copy_queries(const AttentionSmem<Width> &my, u16 *slot, int warp, const u16 *q,
                                                    int ldq, const Queries &of, int Dh) {
  const int row0 = warp * 16 + row_of(), c = threadIdx.x % 8;
#pragma unroll 1
  for (int panel = 0; panel < Width / kTileK; panel++) {
    const int column = panel * kTileK + c * 8;
#pragma unroll 1
    for (int row = row0; row < warp * 16 + 16; row += kRows) {
      const u16 *from = q + (long long)(of.row + row) * ldq + column;
      u16 *to = chunk_of(slot + panel * my.kPanel, row);
      const bool in = row < of.count && column < Dh;
      if (Dh % 8 == 0) {
        ptx::cp_async(to, in ? from : q, in);
        continue;
      }
      u64 low = 0, high = 0; // four elements each
#pragma unroll 1
      for (int j = 3; j >= 0; j--) {
        low = low << 16 | (in && column + j < Dh ? from[j] : 0);
        high = high << 16 | (in && column + 4 + j < Dh ? from[4 + j] : 0);
      }
      ptx::st_shared(to, {(u32)low, (u32)(low >> 32), (u32)high, (u32)(high >> 32)});
    }
  }
}

// load_tiles is a warp of eight, for all of the block's tiles: queries, then keys of step
// 0, keys of step 1, values of step 0, keys of step 2, values of step 1 and so on.
template <int Width>
static __device__ __forceinline__ void load_tiles(const AttentionSmem<Width> &my, int warp, const u16 *q, int ldq,
                                                  const KVCache &cache, const Queries *queries, int tiles, int H,
                                                  int Dh) {
  KVLoader<Width> copier = {my, cache, warp % 4 * 32 + row_of(), warp >= 4, {}};
  KVStep source = {};
  for (TileScheduler scheduler; scheduler.tile() < tiles * H; scheduler.round++) {
    const int slot = scheduler.round % 2;
    if (scheduler.round > 1)
      ptx::mbarrier_wait_parity(my.queries_free + slot, scheduler.round / 2 - 1 & 1);
    copy_queries(my, my.queries + slot * my.kSlot, warp, q + scheduler.tile() % H * Dh, ldq,
                 queries[scheduler.tile() / H], Dh);
    copied(my.queries_full + slot);
    const Queries of = queries[scheduler.tile() / H]; // again, so that it need not be kept
    KVStep now = {of.seq, scheduler.tile() % H / (H / cache.K), 0, of.pos + of.count};
    for (; now.at < now.end; now.at += kTile) {
      copier.fill(now, false);
      if (source.end > 0)
        copier.fill(source, true);
      source = now;
    }
  }
  if (source.end > 0)
    copier.fill(source, true);
}

// OnlineSoftmax is that of this thread's two rows, g and g+8 of its warp's: the largest score so far,
// this thread's part of the sum of weights.
struct OnlineSoftmax {
  float m0 = -kInf, m1 = -kInf, l0 = 0, l1 = 0;

  // weigh makes weights of scores; r0, r1 are what earlier ones are to be multiplied by.
  template <int N> __device__ __forceinline__ void weigh(float (&s)[N], float scale, float &r0, float &r1) {
    float n0 = m0, n1 = m1;
#pragma unroll
    for (int j = 0; j < N; j += 4)
      n0 = ptx::fmax(n0, ptx::fmax(s[j], s[j + 1])), n1 = ptx::fmax(n1, ptx::fmax(s[j + 2], s[j + 3]));
    n0 = ptx::fmax(n0, __shfl_xor_sync(0xffffffff, n0, 1)), n0 = ptx::fmax(n0, __shfl_xor_sync(0xffffffff, n0, 2));
    n1 = ptx::fmax(n1, __shfl_xor_sync(0xffffffff, n1, 1)), n1 = ptx::fmax(n1, __shfl_xor_sync(0xffffffff, n1, 2));
    // Position 0 is in the first step and seen by all: the maxima are finite.
    r0 = ptx::exp2((m0 - n0) * scale), r1 = ptx::exp2((m1 - n1) * scale);
    m0 = n0, m1 = n1, l0 *= r0, l1 *= r1;
    const float b0 = m0 * scale, b1 = m1 * scale;
#pragma unroll
    for (int j = 0; j < N; j += 4) {
      s[j] = ptx::exp2(s[j] * scale - b0), s[j + 1] = ptx::exp2(s[j + 1] * scale - b0);
      s[j + 2] = ptx::exp2(s[j + 2] * scale - b1), s[j + 3] = ptx::exp2(s[j + 3] * scale - b1);
      l0 += s[j] + s[j + 1], l1 += s[j + 2] + s[j + 3];
    }
  }
  __device__ __forceinline__ void join() {
    l0 += __shfl_xor_sync(0xffffffff, l0, 1), l0 += __shfl_xor_sync(0xffffffff, l0, 2);
    l1 += __shfl_xor_sync(0xffffffff, l1, 1), l1 += __shfl_xor_sync(0xffffffff, l1, 2);
  }
};

// compute_qk starts the scores of 64 queries and a step's keys; compute_pv adds
// the step's values, weighed.
template <class T, int Width>
static __device__ __forceinline__ void compute_qk(float (&scores)[kTile / 2], u64 queries, u64 keys) {
  constexpr int kFurther = AttentionSmem<Width>::kPanel * 2 / 16;
  T::wgmma_overwrite(scores, queries, keys);
#pragma unroll
  for (int k = 1; k < Width / 16; k++)
    T::wgmma(scores, queries + k / 4 * kFurther + k % 4 * 2, keys + k / 4 * kFurther + k % 4 * 2);
  ptx::wgmma_commit();
}
template <class T, int Width>
static __device__ __forceinline__ void compute_pv(float (&sums)[Width / 2], const u32 (&weights)[kTile / 16][4],
                                                  u64 values) {
#pragma unroll
  for (int k = 0; k < kTile / 16; k++)
    T::wgmma_rs_mn_major(sums, weights[k], values + k * (16 * kTileK * 2 / 16));
  ptx::wgmma_commit();
}

// apply_causal_mask leaves out the keys from key on that rows g and g+8 do not see.
static __device__ __forceinline__ void apply_causal_mask(float (&scores)[kTile / 2], int key, int at0, int at1) {
#pragma unroll
  for (int j = 0; j < kTile / 2; j++)
    scores[j] = key + j / 4 * 8 + j % 2 <= (j % 4 < 2 ? at0 : at1) ? scores[j] : -kInf;
}

template <class T>
static __device__ __forceinline__ void pack(u32 (&weights)[kTile / 16][4], const float (&scores)[kTile / 2]) {
#pragma unroll
  for (int k = 0; k < kTile / 16; k++)
#pragma unroll
    for (int i = 0; i < 4; i++)
      weights[k][i] = T::pack(scores[8 * k + 2 * i], scores[8 * k + 2 * i + 1]);
#pragma unroll
  for (int k = 0; k < kTile / 16; k++)
    ptx::warpgroup_fence_operand(weights[k]);
}

// rescale multiplies the sums of rows g and g+8.
template <int N> static __device__ __forceinline__ void rescale(float (&sums)[N], float r0, float r1) {
#pragma unroll
  for (int j = 0; j < N; j += 4)
    sums[j] *= r0, sums[j + 1] *= r0, sums[j + 2] *= r1, sums[j + 3] *= r1;
  ptx::warpgroup_fence_operand(sums);
}

static __device__ __forceinline__ void arrive_once(u64 *b) {
  if (threadIdx.x % 32 == 0)
    ptx::mbarrier_arrive(b);
}

// A warpgroup's part of a tile, and what a thread has of it.
struct Part {
  int row, count, head, steps; // of the tile
  int first, at0, at1;         // positions of the warpgroup's first row, of rows g and g+8
  __device__ __forceinline__ Part(const Queries &of, int h, int g) {
    row = of.row, count = of.count, head = h, steps = ceil_div(of.pos + of.count, kTile);
    // A row past the tile's count repeats the last one's position: it is not written.
    first = of.pos + min(g & 64, of.count - 1), at0 = of.pos + min(g, of.count - 1),
    at1 = of.pos + min(g + 8, of.count - 1);
  }
  __device__ __forceinline__ void mask(float (&scores)[kTile / 2], int step) const {
    if ((step + 1) * kTile - 1 > first)
      apply_causal_mask(scores, step * kTile + threadIdx.x % 4 * 2, at0, at1);
  }
};

// write gives rows g and g+8 of a tile.
template <class T, int Width>
static __device__ __forceinline__ void write(u16 *a, int lda, const Part &of, int g, int Dh,
                                             const float (&sums)[Width / 2], OnlineSoftmax rows) {
  rows.join();
  const float d0 = 1 / rows.l0, d1 = 1 / rows.l1;
  const int column = threadIdx.x % 4 * 2;
  u16 *a0 = a + (long long)(of.row + g) * lda + of.head * Dh + column, *a1 = a0 + 8LL * lda;
#pragma unroll
  for (int j = 0; j < Width / 8; j++) {
    if (8 * j + column < Dh && g < of.count)
      *(u32 *)(a0 + 8 * j) = T::pack(sums[4 * j] * d0, sums[4 * j + 1] * d0);
    if (8 * j + column < Dh && g + 8 < of.count)
      *(u32 *)(a1 + 8 * j) = T::pack(sums[4 * j + 2] * d1, sums[4 * j + 3] * d1);
  }
}

// compute_tiles is a warpgroup's part of the block's tiles. The scores of a step are
// under way while the values of the one before are: the softmax of the one runs beside
// the products of the other, and the two warpgroups start theirs in turn.
template <class T, int Width>
static __device__ __forceinline__ void compute_tiles(const AttentionSmem<Width> &my, u16 *a, int lda,
                                                     const Queries *queries, int tiles, int H, int Dh, float scale) {
  using A = AttentionSmem<Width>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = warp / 4, g = warp * 16 + lane / 4;
  constexpr int kNext = A::kSlot * 2 / 16;
  const u64 qs = descriptor(my.queries + group * 64 * kTileK), ks = descriptor(my.slots),
            vs = across(my.slots, A::kPanel);
  TileScheduler scheduler;
  if (scheduler.tile() >= tiles * H)
    return;
  if (group == 1)
    arrive_once(my.order);
  Part of(queries[scheduler.tile() / H], scheduler.tile() % H, g);
  Queries coming;      // read a tile ahead
  int head, slot = 0; // its head; of this tile's queries
  auto look = [&] {
    scheduler.round++;
    const int tile = min(scheduler.tile(), tiles * H - 1);
    coming = queries[tile / H], head = tile % H;
  };
  look();
  float sums[Width / 2] = {}, scores[kTile / 2], r0, r1;
  u32 weights[kTile / 16][4];
  OnlineSoftmax rows;
  Stage<A::kSlots> s;
  ptx::mbarrier_wait_parity(my.queries_full, 0);
  ptx::mbarrier_wait_parity(my.full, 0);
  ptx::wgmma_fence();
  compute_qk<T, Width>(scores, qs, ks);
  ptx::wgmma_wait<0>();
  ptx::warpgroup_fence_operand(scores);
  arrive_once(my.empty);
  s.next();
  if (of.steps == 1)
    arrive_once(my.queries_free);
  of.mask(scores, 0);
  rows.weigh(scores, scale, r0, r1);
  pack<T>(weights, scores);
  for (int step = 1, parity = 0;; step++, parity++) { // scores of this step, values of the one before
    const Part done = of;
    const OnlineSoftmax weighed = rows;
    const bool begins = step == of.steps;
    if (begins) {
      if (scheduler.tile() >= tiles * H)
        break;
      of = Part(coming, head, g), rows = {}, step = 0;
      slot = scheduler.round % 2;
      ptx::mbarrier_wait_parity(my.queries_full + slot, scheduler.round / 2 & 1);
    }
    ptx::mbarrier_wait_parity(my.full + s.index, s.round & 1);
    ptx::mbarrier_wait_parity(my.order + group, parity & 1);
    ptx::wgmma_fence();
    compute_qk<T, Width>(scores, qs + slot * kNext, ks + s.index * kNext);
    const int keys = s.index;
    s.next();
    rescale(sums, r0, r1);
    ptx::mbarrier_wait_parity(my.full + s.index, s.round & 1);
    ptx::wgmma_fence();
    compute_pv<T, Width>(sums, weights, vs + s.index * kNext);
    arrive_once(my.order + 1 - group);
    ptx::wgmma_wait<1>();
    ptx::warpgroup_fence_operand(scores);
    arrive_once(my.empty + keys);
    if (step == of.steps - 1)
      arrive_once(my.queries_free + slot);
    of.mask(scores, step);
    rows.weigh(scores, scale, r0, r1);
    if (step + 1 < of.steps) { // the loop also keeps the softmax before the wait for the values
      Stage<A::kSlots> next = s;
      next.next();
      ptx::mbarrier_wait_parity(my.full + next.index, next.round & 1);
    }
    ptx::wgmma_wait<0>();
    ptx::warpgroup_fence_operand(sums);
    arrive_once(my.empty + s.index);
    s.next();
    if (begins) {
      write<T, Width>(a, lda, done, g, Dh, sums, weighed);
#pragma unroll
      for (int j = 0; j < Width / 2; j++)
        sums[j] = 0;
      look();
    }
    pack<T>(weights, scores);
  }
  rescale(sums, r0, r1);
  ptx::mbarrier_wait_parity(my.full + s.index, s.round & 1);
  ptx::wgmma_fence();
  compute_pv<T, Width>(sums, weights, vs + s.index * kNext);
  ptx::wgmma_wait<0>();
  ptx::warpgroup_fence_operand(sums);
  write<T, Width>(a, lda, of, g, Dh, sums, rows);
}
#endif
