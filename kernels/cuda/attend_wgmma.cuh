// Prefill attention of sm_90a (attend_prefill.cu): tiles of 128 queries, steps of 128 keys.
// Two warpgroups of 64 queries each multiply; two others copy keys and values to a ring of
// five slots, each of a step's keys or its values, every other slot the one, and the
// queries of the next tile. Blocks stay and take tiles in turn, whose steps are one stream:
// the first scores of a tile are made beside the last values of the one before.
//
// Scores are queries by keys, both of shared memory; weights stay in registers, as scores
// lie, and multiply values that lie across. A row's steps begin at position 0, whatever
// the tile: its bits do not depend on the tile.
//
// Bound of a step at Width 128: see kernels/README.md.
#pragma once
#include "wgmma.cuh"

// Queries is a tile: activation rows row..row+count-1 are positions pos.. of seq. Those
// that see most come first.
struct Queries {
  int row, count, pos, seq;
};

#ifdef HOPPER
constexpr int kTile = 128; // queries of a tile, keys of a step

template <int Width> struct Attending {
  static constexpr int kPanel = kTile * kDepth; // 128 rows of 64 elements, swizzled as in wgmma.cuh
  static constexpr int kSlot = Width / kDepth * kPanel, kSlots = 5;
  u16 *queries, *slots;             // queries of this tile and of the next
  u64 *full, *empty;                // [kSlots]
  u64 *queries_full, *queries_free; // [2]
  u64 *turns;                       // [2], of the warpgroups that multiply
  MEMBER Attending() {
    queries = (u16 *)ptx::shared(), slots = queries + 2 * kSlot;
    full = (u64 *)(slots + kSlots * kSlot), empty = full + kSlots, queries_full = empty + kSlots, queries_free = queries_full + 2,
    turns = queries_free + 2;
  }
};

// Turns says which tiles are a block's: rounds of as many as there are blocks, every
// other round in reverse, so that who had the longest of one has the shortest of the next.
struct Turns {
  int round = 0;
  MEMBER int tile() const { return round * ptx::gridx() + (round % 2 ? ptx::gridx() - 1 - ptx::bidx() : ptx::bidx()); }
};

// A warp copies four rows of a panel at a time, a lane a chunk.
constexpr int kRows = 4;
DEVICE int row_of() { return ptx::tid() % 32 / 8; }
DEVICE u16 *chunk_of(u16 *panel, int row) { return panel + row * kDepth + (ptx::tid() % 8 ^ row % 8) * 8; }

// copied tells b that all that this warp copied is there.
DEVICE void copied(u64 *b) {
  ptx::cp_commit();
  ptx::cp_wait<0>();
  ptx::for_products();
  ptx::sync_warp();
  if (ptx::tid() % 32 == 0)
    ptx::arrive(b);
}

// Keys are those of a step, or their values: positions at.. of a sequence, of which a tile
// sees those before end.
struct Keys {
  int seq, head, at, end;
};

// A Copier is a warp of two teams, of four each, that fill every other slot: it copies 32
// of the slot's rows.
template <int Width> struct Copier {
  using A = Attending<Width>;
  const A &my;
  const Cache &cache;
  int row0; // of this thread's
  bool other; // the next slot is the other team's
  Stage<A::kSlots> s;

  MEMBER void fill(const Keys &keys, bool values) {
    if (!other)
      copy(keys, values);
    other = !other;
    s.next();
  }
  MEMBER void copy(const Keys &keys, bool values) const {
    const int c = ptx::tid() % 8, left = keys.end - keys.at - row0;
    const u16 *from = cache.key({keys.seq, left > 0 ? keys.at + row0 : keys.at}, keys.head) + (values ? cache.values() : 0);
    if (s.round > 0)
      ptx::wait_phase(my.empty + s.index, s.round - 1 & 1);
    u16 *even = chunk_of(my.slots + s.index * A::kSlot, row0), *odd = chunk_of(my.slots + s.index * A::kSlot, row0 + kRows);
#pragma unroll 1
    for (int column = c * 8; column < Width; column += kDepth) {
      const int rows = column < cache.Dp ? left : 0, step = rows > 0 ? kRows * cache.K * cache.Dp : 0;
      const u16 *chunk = from + (rows > 0 ? column : 0);
#pragma unroll
      for (int r = 0; r < 32; r += kRows, chunk += step)
        ptx::cp_async((r % 8 == 0 ? even : odd) + r / 8 * 8 * kDepth, chunk, r < rows);
      even += A::kPanel, odd += A::kPanel;
    }
    copied(my.full + s.index);
  }
};

// copy_queries fills this warp's 16 rows of the queries' place.
template <int Width>
DEVICE void copy_queries(const Attending<Width> &my, u16 *place, int warp, const u16 *q, int ldq, const Queries &of, int Dh) {
  const int row0 = warp * 16 + row_of(), c = ptx::tid() % 8;
#pragma unroll 1
  for (int panel = 0; panel < Width / kDepth; panel++) {
    const int column = panel * kDepth + c * 8;
#pragma unroll 1
    for (int row = row0; row < warp * 16 + 16; row += kRows) {
      const u16 *from = q + (long long)(of.row + row) * ldq + column;
      u16 *to = chunk_of(place + panel * my.kPanel, row);
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
      ptx::store_shared(to, {(u32)low, (u32)(low >> 32), (u32)high, (u32)(high >> 32)});
    }
  }
}

// attend_copy is a warp of eight, for all of the block's tiles: queries, then keys of step
// 0, keys of step 1, values of step 0, keys of step 2, values of step 1 and so on.
template <int Width>
DEVICE void attend_copy(const Attending<Width> &my, int warp, const u16 *q, int ldq, const Cache &cache, const Queries *queries, int tiles, int H,
                        int Dh) {
  Copier<Width> copier = {my, cache, warp % 4 * 32 + row_of(), warp >= 4, {}};
  Keys before = {};
  for (Turns turn; turn.tile() < tiles * H; turn.round++) {
    const int place = turn.round % 2;
    if (turn.round > 1)
      ptx::wait_phase(my.queries_free + place, turn.round / 2 - 1 & 1);
    copy_queries(my, my.queries + place * my.kSlot, warp, q + turn.tile() % H * Dh, ldq, queries[turn.tile() / H], Dh);
    copied(my.queries_full + place);
    const Queries of = queries[turn.tile() / H]; // again, so that it need not be kept
    Keys now = {of.seq, turn.tile() % H / (H / cache.K), 0, of.pos + of.count};
    for (; now.at < now.end; now.at += kTile) {
      copier.fill(now, false);
      if (before.end > 0)
        copier.fill(before, true);
      before = now;
    }
  }
  if (before.end > 0)
    copier.fill(before, true);
}

// RunningSoftmax is that of this thread's two rows, g and g+8 of its warp's: the largest score so far,
// this thread's part of the sum of weights.
struct RunningSoftmax {
  float m0 = -kInf, m1 = -kInf, l0 = 0, l1 = 0;

  // weigh makes weights of scores; r0, r1 are what earlier ones are to be multiplied by.
  template <int N> MEMBER void weigh(float (&s)[N], float scale, float &r0, float &r1) {
    float n0 = m0, n1 = m1;
#pragma unroll
    for (int j = 0; j < N; j += 4)
      n0 = ptx::larger(n0, ptx::larger(s[j], s[j + 1])), n1 = ptx::larger(n1, ptx::larger(s[j + 2], s[j + 3]));
    n0 = ptx::larger(n0, ptx::shfl_xor(n0, 1)), n0 = ptx::larger(n0, ptx::shfl_xor(n0, 2));
    n1 = ptx::larger(n1, ptx::shfl_xor(n1, 1)), n1 = ptx::larger(n1, ptx::shfl_xor(n1, 2));
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
  MEMBER void join() {
    l0 += ptx::shfl_xor(l0, 1), l0 += ptx::shfl_xor(l0, 2);
    l1 += ptx::shfl_xor(l1, 1), l1 += ptx::shfl_xor(l1, 2);
  }
};

// queries_by_keys starts the scores of 64 queries and a step's keys; weights_by_values adds
// the step's values, weighed.
template <class T, int Width>
DEVICE void queries_by_keys(float (&scores)[kTile / 2], u64 queries, u64 keys) {
  constexpr int kFurther = Attending<Width>::kPanel * 2 / 16;
  T::wgmma_first(scores, queries, keys);
#pragma unroll
  for (int k = 1; k < Width / 16; k++)
    T::wgmma(scores, queries + k / 4 * kFurther + k % 4 * 2, keys + k / 4 * kFurther + k % 4 * 2);
  ptx::wgmma_commit();
}
template <class T, int Width>
DEVICE void weights_by_values(float (&sums)[Width / 2], const u32 (&weights)[kTile / 16][4], u64 values) {
#pragma unroll
  for (int k = 0; k < kTile / 16; k++)
    T::wgmma_across(sums, weights[k], values + k * (16 * kDepth * 2 / 16));
  ptx::wgmma_commit();
}

// unseen leaves out the keys from key on that rows g and g+8 do not see.
DEVICE void unseen(float (&scores)[kTile / 2], int key, int at0, int at1) {
#pragma unroll
  for (int j = 0; j < kTile / 2; j++)
    scores[j] = key + j / 4 * 8 + j % 2 <= (j % 4 < 2 ? at0 : at1) ? scores[j] : -kInf;
}

template <class T> DEVICE void pack(u32 (&weights)[kTile / 16][4], const float (&scores)[kTile / 2]) {
#pragma unroll
  for (int k = 0; k < kTile / 16; k++)
#pragma unroll
    for (int i = 0; i < 4; i++)
      weights[k][i] = T::pack(scores[8 * k + 2 * i], scores[8 * k + 2 * i + 1]);
#pragma unroll
  for (int k = 0; k < kTile / 16; k++)
    ptx::settled(weights[k]);
}

// rescale multiplies the sums of rows g and g+8.
template <int N> DEVICE void rescale(float (&sums)[N], float r0, float r1) {
#pragma unroll
  for (int j = 0; j < N; j += 4)
    sums[j] *= r0, sums[j + 1] *= r0, sums[j + 2] *= r1, sums[j + 3] *= r1;
  ptx::settled(sums);
}

DEVICE void arrive_once(u64 *b) {
  if (ptx::tid() % 32 == 0)
    ptx::arrive(b);
}

// A warpgroup's part of a tile, and what a thread has of it.
struct Part {
  int row, count, head, steps; // of the tile
  int first, at0, at1;         // positions of the warpgroup's first row, of rows g and g+8
  MEMBER Part(const Queries &of, int h, int g) {
    row = of.row, count = of.count, head = h, steps = ceil_div(of.pos + of.count, kTile);
    // A row past the tile's count repeats the last one's position: it is not written.
    first = of.pos + min(g & 64, of.count - 1), at0 = of.pos + min(g, of.count - 1), at1 = of.pos + min(g + 8, of.count - 1);
  }
  MEMBER void mask(float (&scores)[kTile / 2], int step) const {
    if ((step + 1) * kTile - 1 > first)
      unseen(scores, step * kTile + ptx::tid() % 4 * 2, at0, at1);
  }
};

// write gives rows g and g+8 of a tile.
template <class T, int Width>
DEVICE void write(u16 *a, int lda, const Part &of, int g, int Dh, const float (&sums)[Width / 2], RunningSoftmax rows) {
  rows.join();
  const float d0 = 1 / rows.l0, d1 = 1 / rows.l1;
  const int column = ptx::tid() % 4 * 2;
  u16 *a0 = a + (long long)(of.row + g) * lda + of.head * Dh + column, *a1 = a0 + 8LL * lda;
#pragma unroll
  for (int j = 0; j < Width / 8; j++) {
    if (8 * j + column < Dh && g < of.count)
      *(u32 *)(a0 + 8 * j) = T::pack(sums[4 * j] * d0, sums[4 * j + 1] * d0);
    if (8 * j + column < Dh && g + 8 < of.count)
      *(u32 *)(a1 + 8 * j) = T::pack(sums[4 * j + 2] * d1, sums[4 * j + 3] * d1);
  }
}

// attend_multiply is a warpgroup's part of the block's tiles. The scores of a step are
// under way while the values of the one before are: the softmax of the one runs beside
// the products of the other, and the two warpgroups start theirs in turn.
template <class T, int Width>
DEVICE void attend_multiply(const Attending<Width> &my, u16 *a, int lda, const Queries *queries, int tiles, int H, int Dh, float scale) {
  using A = Attending<Width>;
  const int lane = ptx::tid() % 32, warp = ptx::tid() / 32, group = warp / 4, g = warp * 16 + lane / 4;
  constexpr int kNext = A::kSlot * 2 / 16;
  const u64 qs = descriptor(my.queries + group * 64 * kDepth), ks = descriptor(my.slots), vs = across(my.slots, A::kPanel);
  Turns turn;
  if (turn.tile() >= tiles * H)
    return;
  if (group == 1)
    arrive_once(my.turns);
  Part of(queries[turn.tile() / H], turn.tile() % H, g);
  Queries coming; // read a tile ahead
  int head, place = 0; // its head; of this tile's queries
  auto look = [&] {
    turn.round++;
    const int tile = min(turn.tile(), tiles * H - 1);
    coming = queries[tile / H], head = tile % H;
  };
  look();
  float sums[Width / 2] = {}, scores[kTile / 2], r0, r1;
  u32 weights[kTile / 16][4];
  RunningSoftmax rows;
  Stage<A::kSlots> s;
  ptx::wait_phase(my.queries_full, 0);
  ptx::wait_phase(my.full, 0);
  ptx::wgmma_fence();
  queries_by_keys<T, Width>(scores, qs, ks);
  ptx::wgmma_wait<0>();
  ptx::settled(scores);
  arrive_once(my.empty);
  s.next();
  if (of.steps == 1)
    arrive_once(my.queries_free);
  of.mask(scores, 0);
  rows.weigh(scores, scale, r0, r1);
  pack<T>(weights, scores);
  for (int step = 1, turns = 0;; step++, turns++) { // scores of this step, values of the one before
    const Part done = of;
    const RunningSoftmax weighed = rows;
    const bool begins = step == of.steps;
    if (begins) {
      if (turn.tile() >= tiles * H)
        break;
      of = Part(coming, head, g), rows = {}, step = 0;
      place = turn.round % 2;
      ptx::wait_phase(my.queries_full + place, turn.round / 2 & 1);
    }
    ptx::wait_phase(my.full + s.index, s.round & 1);
    ptx::wait_phase(my.turns + group, turns & 1);
    ptx::wgmma_fence();
    queries_by_keys<T, Width>(scores, qs + place * kNext, ks + s.index * kNext);
    const int keys = s.index;
    s.next();
    rescale(sums, r0, r1);
    ptx::wait_phase(my.full + s.index, s.round & 1);
    ptx::wgmma_fence();
    weights_by_values<T, Width>(sums, weights, vs + s.index * kNext);
    arrive_once(my.turns + 1 - group);
    ptx::wgmma_wait<1>();
    ptx::settled(scores);
    arrive_once(my.empty + keys);
    if (step == of.steps - 1)
      arrive_once(my.queries_free + place);
    of.mask(scores, step);
    rows.weigh(scores, scale, r0, r1);
    if (step + 1 < of.steps) { // the loop also keeps the softmax before the wait for the values
      Stage<A::kSlots> next = s;
      next.next();
      ptx::wait_phase(my.full + next.index, next.round & 1);
    }
    ptx::wgmma_wait<0>();
    ptx::settled(sums);
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
  ptx::wait_phase(my.full + s.index, s.round & 1);
  ptx::wgmma_fence();
  weights_by_values<T, Width>(sums, weights, vs + s.index * kNext);
  ptx::wgmma_wait<0>();
  ptx::settled(sums);
  write<T, Width>(a, lda, of, g, Dh, sums, rows);
}
#endif
