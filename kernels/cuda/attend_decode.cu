// a[n,h] = softmax(q[n,h] . keys / sqrt(Dh)) values, over the positions 0..pos of
// row n's sequence; head h reads KV head h/(H/K).
//
//   q, a [N, H*Dh] 16-bit; cache pages of 64 positions (types.cuh)
//   sequence: row n is of sequence + n; < 0: as places say
//   partial [N * gridy, gridx, heads, Width+4] f32; counters [N * gridy], zero before and after
//
// Grid: (parts, K * ceil(H/K / 8) * ceil(Dh/Width), N), 256 threads: a block takes one
// part of a row's positions for up to eight query heads of one KV head, so that a
// position is read once, and Width columns of their values. Bound by reading the cache:
// 4*K*Dh*T bytes a row.
//
// A warp takes 2048/Width positions at a time, 8 KiB of keys and values, which come into
// registers and into shared memory; the next ones' are under way while it multiplies.
// Scores are a product with the heads as A side, which leaves them where the second
// product has its B side; each weight goes into that as two 16-bit numbers, the second
// what the first leaves, so that only rounding of sums is lost. Warps join in shared
// memory, parts in the block that ends last, both in their order. How positions fall to
// warps and parts follows from the row's own position: the grid, which is for the longest
// row, is not in the bits.
#include "types.cuh"

constexpr int kGroup = 8; // query heads a block takes
constexpr int kAttendWarps = 8;
constexpr int kAloneRounds = 2; // turns of all warps that one block takes for itself
constexpr int kMostParts = 16;  // of a row

// A row's heads in one part, or in what one warp saw of it: sums of values [Width] that
// were weighted by 2^(score - m), their largest score m, the sum of weights l.
constexpr int row_pitch(int width) { return width + 4; }

// Joined is an element of a head's sums over rows that lie some distance apart.
struct Joined {
  float o, m, l;
};
template <int Width> DEVICE Joined join_warps(const float *rows, int apart, int d) {
  float m = -kInf, o = 0, l = 0;
#pragma unroll
  for (int w = 0; w < kAttendWarps; w++)
    m = max(m, rows[w * apart + Width]);
#pragma unroll
  for (int w = 0; w < kAttendWarps; w++) {
    float e = ptx::exp2(rows[w * apart + Width] - m);
    o += e * rows[w * apart + d], l += e * rows[w * apart + Width + 1];
  }
  return {o, m, l};
}

// join_parts leaves in shared memory what each warp's parts come to.
template <int Width> DEVICE void join_parts(float *sums, int apart, const float *part, int parts, int heads, int stride) {
  constexpr int kPitch = row_pitch(Width), kEach = kMostParts / kAttendWarps, kHeads = 4; // loads under way: kHeads * kEach
  const int warp = ptx::tid() / 32, lane = ptx::tid() % 32;
  const bool in = 4 * lane < Width;
  for (int j0 = 0; j0 < heads; j0 += kHeads) {
    F4 x[kHeads][kEach];
    F2 ml[kHeads][kEach];
#pragma unroll
    for (int j = 0; j < kHeads; j++)
#pragma unroll
      for (int i = 0; i < kEach; i++) {
        const int s = warp + i * kAttendWarps;
        const float *row = part + (s * stride + j0 + j) * kPitch;
        x[j][i] = {0, 0, 0, 0}, ml[j][i] = {-kInf, 0};
        if (j0 + j < heads && s < parts) {
          ml[j][i] = *(const F2 *)(row + Width);
          if (in)
            x[j][i] = ptx::load_floats(row + 4 * lane);
        }
      }
#pragma unroll
    for (int j = 0; j < kHeads; j++)
      if (j0 + j < heads) {
        float m = -kInf, l = 0;
        F4 o = {0, 0, 0, 0};
#pragma unroll
        for (int i = 0; i < kEach; i++)
          m = max(m, ml[j][i].x);
#pragma unroll
        for (int i = 0; i < kEach; i++) {
          float e = m == -kInf ? 0 : ptx::exp2(ml[j][i].x - m); // a warp without parts
          o.x += e * x[j][i].x, o.y += e * x[j][i].y, o.z += e * x[j][i].z, o.w += e * x[j][i].w;
          l += e * ml[j][i].y;
        }
        float *to = sums + warp * apart + (j0 + j) * kPitch;
        if (in)
          *(F4 *)(to + 4 * lane) = o;
        if (lane == 0)
          to[Width] = m, to[Width + 1] = l;
      }
  }
}

DEVICE int over(int a, int b) { return b == 1 ? a : (u32)a / (u32)b; } // mostly one

template <class T, int Width>
DEVICE void attend_decode(u16 *a, int lda, const u16 *q, int ldq, Cache cache, const V2 *places, int sequence, int group, int Dh,
                          float scale, float *partial, u32 *counters) {
  constexpr int kPositions = 2048 / Width, kTiles = kPositions / 8; // a warp's at a time, by eight
  constexpr int kPitch = row_pitch(Width), kWords = Width / 64, kChunks = Width / 8;
  constexpr int kValues = Width + 8, kApart = kPositions * kValues / 2; // pitch of values; of the warps, floats
  static_assert(kApart >= kGroup * kPitch && kApart % 4 == 0);
  const int tid = ptx::tid(), warp = tid / 32, lane = tid % 32, g = lane / 4, t = lane % 4;
  const int K = cache.K, Dp = cache.Dp, groups = ceil_div(group, kGroup), slices = ceil_div(Dp, Width);
  const int n = ptx::bidz(), part = ptx::bidx(), unit = over(ptx::bidy(), slices), slice = ptx::bidy() - unit * slices;
  const int kh = over(unit, groups), in = (unit - kh * groups) * kGroup, h0 = kh * group + in, heads = min(kGroup, group - in);
  const int stride = min(kGroup, group); // heads that rows are laid out for
  const int width = Dp + 63 & ~63, pitch = width + 32;
  int *facts = (int *)ptx::shared();               // of the row: parts, whether this block is the last of them
  float *sums = (float *)(facts + 4);              // [kAttendWarps, kApart]: values, then rows [stride, kPitch]
  u16 *qs = (u16 *)(sums + kAttendWarps * kApart); // [8, pitch]
  ptx::after_previous();
  ptx::release();

  // Where the sequence is known the first page's address comes along with the position: of
  // the step that is this warp's unless a later part of longer parts is meant.
  const V2 place = places[n]; // sequence, position
  const int guess = part * kAttendWarps + warp;
  const u64 *table = cache.table + (long long)(sequence < 0 ? 0 : sequence + n) * cache.pages;
  const u64 guessed = table[min(guess * kPositions / kPage, cache.pages - 1)];
  const int pos = place.y, steps = pos / kPositions + 1, rounds = ceil_div(steps, kAttendWarps);
  const int share = rounds <= kAloneRounds ? rounds : ceil_div(rounds, kMostParts);
  if (part * share >= rounds || guessed % 2) // never odd: said so that it is loaded now
    return;
  const int end = min(steps, (part + 1) * share * kAttendWarps);

  // A warp brings in a head, two elements a lane.
  const u16 *from = q + (long long)n * ldq + (h0 + warp) * Dh;
  auto two = [&](int d) { return warp < heads && d < Dh ? *(const u32 *)(from + d) : 0; };
  u32 first[kWords];
#pragma unroll
  for (int i = 0; i < kWords; i++)
    first[i] = two(2 * lane + 64 * i);

  int step = part * share * kAttendWarps + warp;
  if (sequence < 0)
    table = cache.table + (long long)place.x * cache.pages;
  auto page = [&](int step) { return (const u16 *)table[min(step, end - 1) * kPositions / kPage] + kh * Dp; };
  const int line = K * Dp; // from a position to the next
  auto start = [&](const u16 *at, int step, int r) { return at + (step * kPositions % kPage + r) * line; };
  auto key = [&](const u16 *at, int step, int i, int c) { // zeros past the position
    return ptx::load_if(start(at, step, g) + 8 * t + 32 * c + 8 * i * line, pos - step * kPositions - g >= 8 * i && 8 * t + 32 * c < Dp);
  };
  V4 k[kTiles][Width / 32];
  auto load_keys = [&](const u16 *at, int step) {
#pragma unroll
    for (int i = 0; i < kTiles; i++)
#pragma unroll
      for (int c = 0; c < Width / 32; c++)
        k[i][c] = key(at, step, i, c);
  };
  u16 *vs = (u16 *)(sums + warp * kApart); // [kPositions, kValues]
  auto copy_values = [&](const u16 *at, int step) {
    constexpr int kRows = 32 / kChunks; // that the warp copies at a time
    const int r = lane / kChunks, c = lane % kChunks, column = slice * Width + 8 * c;
    const u16 *from = start(at, step, r) + cache.values() + column;
    const int left = column < Dp ? pos - step * kPositions - r : -1;
#pragma unroll
    for (int i = 0; i < 8; i++)
      ptx::cp_async(vs + (r + i * kRows) * kValues + 8 * c, from + i * kRows * line, left >= i * kRows);
    ptx::cp_commit();
  };
  const u16 *now = sequence < 0 || step != guess ? page(step) : (const u16 *)guessed + kh * Dp, *next = page(step + kAttendWarps);
  if (step < end)
    load_keys(now, step), copy_values(now, step);

  u16 *mine = qs + warp * pitch;
#pragma unroll
  for (int i = 0; i < kWords; i++)
    *(u32 *)(mine + 2 * lane + 64 * i) = first[i];
  for (int d = Width + 2 * lane; d < width; d += 64)
    *(u32 *)(mine + d) = two(d);
  if (tid == 0)
    facts[0] = ceil_div(rounds, share);
  ptx::sync();

  // o: columns 16i+g and 8 past it, heads 2t, 2t+1; m, l: head g.
  float o[Width / 16][4] = {}, m = -kInf, l = 0;
  const u16 *qg = qs + g * pitch + 8 * t;
  while (step < end) {
    const int ahead = step + kAttendWarps;
    float s[kTiles][4] = {}; // head g, positions 2t, 2t+1 of eight
    auto multiply = [&](float (&s)[4], V4 y, int k0) {
      V4 z = *(const V4 *)(qg + k0);
      T::mma(s, z.x, 0, z.y, 0, y.x, y.y);
      T::mma(s, z.z, 0, z.w, 0, y.z, y.w);
    };
#pragma unroll
    for (int c = 0; c < Width / 32; c++)
#pragma unroll
      for (int i = 0; i < kTiles; i++)
        multiply(s[i], k[i][c], 32 * c);
    if constexpr (Width == 128) // heads that are wider
      for (int c = Width / 32; 32 * c < Dp; c++)
#pragma unroll
        for (int i = 0; i < kTiles; i++)
          multiply(s[i], key(now, step, i, c), 32 * c);
    if (ahead < end)
      load_keys(next, ahead);

    float top = m;
#pragma unroll
    for (int i = 0; i < kTiles; i++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        s[i][e] = step * kPositions + 8 * i + 2 * t + e <= pos ? s[i][e] * scale : -kInf;
        top = max(top, s[i][e]);
      }
    top = max(top, ptx::shfl_xor(top, 1)), top = max(top, ptx::shfl_xor(top, 2));
    const float r = ptx::exp2(m - top), r0 = ptx::shfl(r, 8 * t), r1 = ptx::shfl(r, 8 * t + 4);
    m = top, l *= r;
#pragma unroll
    for (int i = 0; i < Width / 16; i++)
      o[i][0] *= r0, o[i][1] *= r1, o[i][2] *= r0, o[i][3] *= r1;
    ptx::cp_wait<0>();
    ptx::sync_warp();
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
        ptx::ldmatrix_trans(f, vs + (16 * e + lane / 16 * 8 + lane % 8) * kValues + 16 * i + lane / 8 % 2 * 8);
        T::mma(o[i], f[0], f[1], f[2], f[3], high[0], high[1]);
        T::mma(o[i], f[0], f[1], f[2], f[3], low[0], low[1]);
      }
    }
    ptx::sync_warp();
    if (ahead < end)
      copy_values(next, ahead);
    step = ahead, now = next, next = page(step + kAttendWarps);
  }

  l += ptx::shfl_xor(l, 1), l += ptx::shfl_xor(l, 2);
  float *rows = sums + warp * kApart;
#pragma unroll
  for (int i = 0; i < 2 * (Width / 16); i++)
#pragma unroll
    for (int e = 0; e < 2; e++)
      if (2 * t + e < heads)
        rows[(2 * t + e) * kPitch + 8 * i + g] = o[i / 2][i % 2 * 2 + e];
  if (t == 0 && g < heads)
    *(F2 *)(rows + g * kPitch + Width) = {m, l};
  ptx::sync();

  auto put = [&](int j, int d, const Joined &x) {
    if (d + slice * Width < Dh)
      a[(long long)n * lda + (h0 + j) * Dh + slice * Width + d] = narrow<T>(x.o / x.l);
  };
  const int where = n * ptx::gridy() + ptx::bidy(), parts = facts[0];
  float *all = partial + (long long)where * ptx::gridx() * stride * kPitch;
  for (int i = tid; i < heads * Width; i += 32 * kAttendWarps) {
    const int j = i / Width, d = i % Width;
    const Joined x = join_warps<Width>(sums + j * kPitch, kApart, d);
    if (parts == 1) {
      put(j, d, x);
      continue;
    }
    float *to = all + (part * stride + j) * kPitch;
    to[d] = x.o;
    if (d == 0)
      to[Width] = x.m, to[Width + 1] = x.l;
  }
  if (parts == 1)
    return;
  ptx::sync();
  if (tid == 0) { // what the other threads wrote was ordered by the barrier
    facts[1] = ptx::add(counters + where, 1) == (u32)(parts - 1);
    if (facts[1])
      counters[where] = 0;
  }
  ptx::sync();
  if (!facts[1])
    return;
  join_parts<Width>(sums, kApart, all, parts, heads, stride);
  ptx::sync();
  for (int i = tid; i < heads * Width; i += 32 * kAttendWarps)
    put(i / Width, i % Width, join_warps<Width>(sums + i / Width * kPitch, kApart, i % Width));
}

#define ATTEND_DECODE(T, name, width)                                                                                      \
  KERNEL(32 * kAttendWarps, 2, attend_decode_##width##_##name, u16 *a, int lda, const u16 *q, int ldq, const u64 *table,   \
         int pages, const V2 *places, int sequence, int group, int K, int Dh, float scale, float *partial, u32 *counters) { \
    attend_decode<T, width>(a, lda, q, ldq, {table, pages, K, Dh + 7 & ~7}, places, sequence, group, Dh, scale, partial,   \
                            counters);                                                                                     \
  }
ATTEND_DECODE(BF16, bf16, 64)
ATTEND_DECODE(F16, f16, 64)
ATTEND_DECODE(BF16, bf16, 128)
ATTEND_DECODE(F16, f16, 128)
