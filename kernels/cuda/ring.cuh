// The products of decoding (stream.cuh) by what compute capability 9.0 has for them:
// weights come by copies of bytes that count on a barrier, so that they are under way
// without a register, and over the end of one kernel and the start of the next.
//
// A block is the eight warps that multiply and two that copy; one block an SM, in less
// than half of its memory where x is small, so that the next kernel's block is there while
// this one ends. A stage is 1 KiB of each of 16 rows of W, the rows 64 bytes further apart
// than that, so that the 16 bytes of lanes (g, t) of rows g and g+1 fall on different
// banks. Full barriers end their phase when a stage's bytes are there, empty ones when the
// eight warps have read them. Of a stage's 16 steps of 64 bytes warp w takes w and w+8:
// which sum an element of K belongs to depends on the row's length alone.
//
// Weights never depend on the kernel before. The copying warps fill the whole ring without
// waiting for that kernel's end, and ask L2 for some of what comes after it, a short ring
// all the time; those that multiply wait for it, and then for x. The next kernel is
// released when the last of this one's weights are asked for: earlier it would take their
// bandwidth, later the memory would idle while sums are written and x is read. This is
// safe whatever the kernel before has not done yet: what is read before after_previous
// are weights, which no kernel of a step writes (what else writes them is waited for, see
// Device.Make), and nothing is written. A kernel ends only after the one before it has,
// since all blocks wait; so that after_previous means all of them.
//
// Bound: reading W. A stage is 16 KiB; 3 TB/s are one in 0.7 us on each of 132 SMs.
#pragma once
#include "stream.cuh"

#ifdef HOPPER

constexpr int kCopyWarps = 2; // a warp's lanes start their copies one after another
constexpr int kRingThreads = kStreamThreads + 32 * kCopyWarps;
constexpr int kRingRows = 16;
constexpr int kChunk = 1024; // bytes of a row in a stage
constexpr int kHalf = 64 * kStreamWarps; // of which a warp takes 64
constexpr int kChunkPitch = kChunk + 64;
constexpr int kRingStage = kRingRows * kChunkPitch;
constexpr int kRingParts = kStreamWarps * kSegment * 4; // bytes, whatever n
constexpr int kDeep = 4;     // stages of a ring that keeps memory busy by itself
constexpr int kAsked = 10;   // stages asked for at the start, of L2 those that the ring has no place for

// Multipliers are the threads that multiply.
struct Multipliers {
  static MEMBER void sync() { ptx::sync_first<kStreamThreads>(); }
};

// Ring is what follows x in shared memory: parts [8, 128] f32, stages, barriers.
struct Ring {
  float *parts;
  u8 *stages;
  u64 *full, *empty, *staged; // staged: x is there
  int count;
  int index, round;
  MEMBER u8 *stage() const { return stages + index * kRingStage; }
  MEMBER void next() {
    if (++index == count)
      index = 0, round++;
  }
};
template <class E> DEVICE Ring ring_of(int ld, int n, int count) {
  float *parts = stream_parts<E>(ld, n);
  u8 *stages = (u8 *)parts + kRingParts;
  u64 *b = (u64 *)(stages + count * kRingStage);
  return {parts, stages, b, b + count, b + 2 * count, count, 0, 0};
}

// ring_fill copies rows r0..r1-1, 16 at a time: each copying warp its rows of every stage,
// a lane for each. A tile's rows past r1 stay as they are, and so do their sums, which
// nobody reads. The next kernel may start when all is asked for.
template <class E, class Rows> DEVICE void ring_fill(Ring ring, const Rows &rows, int r0, int r1, int ld) {
  constexpr int kMine = kRingRows / kCopyWarps;
  const int lane = ptx::tid() % 32, mine = ptx::tid() / 32 % kCopyWarps * kMine, bytes = ld * (int)sizeof(E);
  struct Walk { // over the stages: this lane's row of a tile, nullptr where there is none, and the chunk's first byte
    const u8 *row;
    int tile, at;
  };
  auto start = [&](int tile) {
    const int r = tile + mine + lane;
    return Walk{lane < kMine && r < r1 ? (const u8 *)rows.row(r) : nullptr, tile, 0};
  };
  auto next = [&](Walk &w) {
    if ((w.at += kChunk) >= bytes)
      w = start(w.tile + kRingRows);
  };
  Walk copied = start(r0), asked = copied;
  int ahead = 0; // stages before asked
  for (int i = 0; copied.tile < r1; i++, next(copied), ring.next()) {
    if (i == ring.count || i > ring.count && ring.count < kDeep) {
      for (; ahead < i - ring.count + kAsked && asked.tile < r1; ahead++, next(asked))
        if (ahead >= ring.count && asked.row)
          ptx::prefetch(asked.row + asked.at, min(kChunk, bytes - asked.at));
      if (asked.tile >= r1)
        ptx::release();
    }
    const int part = min(kChunk, bytes - copied.at);
    if (ring.round > 0)
      ptx::wait_phase(ring.empty + ring.index, ring.round - 1 & 1);
    if (lane == 0)
      ptx::arrive_expect(ring.full + ring.index, max(0, min(kMine, r1 - copied.tile - mine)) * part);
    ptx::sync_warp();
    if (copied.row)
      ptx::copy_once(ring.stage() + (mine + lane) * kChunkPitch, copied.row + copied.at, part, ring.full + ring.index);
  }
  ptx::release();
}

// ring_products multiplies those rows with x in shared memory; out as in stream, asked
// for what it reads (before, scales) while the weights come.
template <class T, class E, class Out> DEVICE void ring_products(Ring ring, int r0, int r1, int ld, int n, const Out &out) {
  using F = Format<T, E>;
  constexpr int kStep = 4 * F::kLane;
  const int tid = ptx::tid(), warp = tid / 32, g = tid % 32 / 4, t = tid % 4;
  const int steps = ld / kStep, segment = max(kRingRows, kSegment / n & -kRingRows);
  const u16 *xg = (const u16 *)ptx::shared() + g * stream_pitch<E>(ld) + F::kLane * t + warp * kStep;
  for (int s0 = r0; s0 < r1; s0 += segment) {
    const int s1 = min(s0 + segment, r1), pair = s0 / 2 + tid / n, col = tid % n;
    const bool mine = 2 * pair < s1; // at most 64 pairs and rows of x: one a thread
    typename Out::Row row;
    typename Out::Before before;
    F2 scales = {1, 1};
    if (mine)
      row = out.row(col), before = out.before(row, pair), scales = out.scales(pair);
    for (int r = s0; r < s1; r += kRingRows) {
      float c[2][4] = {};
      for (int k = 0; k < steps; k += kChunk / 64, ring.next()) {
        ptx::wait_phase(ring.full + ring.index, ring.round & 1);
        const u8 *w = ring.stage() + g * kChunkPitch + 64 * warp + 16 * t;
        if (k + kChunk / 64 <= steps) {
          V4 a[2], b[2];
          typename F::X y[2];
#pragma unroll
          for (int i = 0; i < 2; i++)
            a[i] = ptx::load_shared(w + i * kHalf), b[i] = ptx::load_shared(w + i * kHalf + 8 * kChunkPitch), y[i] = F::at(xg + (k + kStreamWarps * i) * kStep, g < n);
#pragma unroll
          for (int i = 0; i < 2; i++)
            F::multiply(c[i], a[i], b[i], y[i]);
        } else {
#pragma unroll
          for (int i = 0; i < 2; i++)
            if (k + warp + kStreamWarps * i < steps)
              F::multiply(c[i], ptx::load_shared(w + i * kHalf), ptx::load_shared(w + i * kHalf + 8 * kChunkPitch), F::at(xg + (k + kStreamWarps * i) * kStep, g < n));
        }
        ptx::sync_warp();
        if (tid % 32 == 0)
          ptx::arrive(ring.empty + ring.index);
      }
      float *to = ring.parts + (warp * segment + r - s0 + g) * n + 2 * t;
      if (2 * t < n)
        to[0] = c[0][0] + c[1][0], to[8 * n] = c[0][2] + c[1][2];
      if (2 * t + 1 < n)
        to[1] = c[0][1] + c[1][1], to[8 * n + 1] = c[0][3] + c[1][3];
    }
    Multipliers::sync();
    if (mine) {
      const float *from = ring.parts + (2 * pair - s0) * n + col;
      float a = 0, b = 0;
#pragma unroll
      for (int w = 0; w < kStreamWarps; w++) {
        a += from[w * segment * n];
        b += from[w * segment * n + n];
      }
      out.put(row, pair, a, b, scales, before);
    }
    Multipliers::sync();
  }
}

// stage_halves copies n rows as they are, zeros up to ld; their tails up to ldx are zero
// already.
template <class E> DEVICE void stage_halves(const Ring &ring, const u16 *x, int ldx, int n, int ld) {
  const int all = min(ldx, ld), rest = (ld - all) / 8;
  u16 *to = (u16 *)ptx::shared();
  if (ptx::tid() == 0) {
    ptx::arrive_expect(ring.staged, 2 * n * all);
    for (int i = 0; i < n; i++)
      ptx::copy(to + i * stream_pitch<E>(ld), x + (long long)i * ldx, 2 * all, ring.staged);
  }
  for (int i = ptx::tid(); i < n * rest; i += kStreamThreads)
    *(V4 *)(to + i / rest * stream_pitch<E>(ld) + all + i % rest * 8) = {0, 0, 0, 0};
  ptx::wait_phase(ring.staged, 0);
  Multipliers::sync();
}

// Normed is the norm of rows (stream.cuh).
template <class T, class E> struct Normed {
  Norm<T, E> norm;
  MEMBER void ask() { norm.ask(); }
  MEMBER void stage(const Ring &, int n, int ld) const { norm.template stage<Multipliers>(n, ld); }
};

// ring_decode multiplies 2*pairs rows. x puts its n rows into shared memory: x.ask()
// reads what is a weight, x.stage(ring, n, ld) the rest.
template <class T, class E, class Rows, class X, class Out>
DEVICE void ring_decode(const Rows &rows, int pairs, int ld, int n, int count, X x, const Out &out) {
  Ring ring = ring_of<E>(ld, n, count);
  const int r0 = 2 * (int)((long long)pairs * ptx::bidx() / ptx::gridx()), r1 = 2 * (int)((long long)pairs * (ptx::bidx() + 1) / ptx::gridx());
  if (ptx::tid() == 0) {
    for (int i = 0; i < count; i++) {
      ptx::barrier_init(ring.full + i, kCopyWarps);
      ptx::barrier_init(ring.empty + i, kStreamWarps);
    }
    ptx::barrier_init(ring.staged, 1);
    ptx::barriers_made();
  }
  ptx::sync();
  if (ptx::tid() >= kStreamThreads) {
    ring_fill<E>(ring, rows, r0, r1, ld);
  } else {
    x.ask();
    ptx::after_previous();
    x.stage(ring, n, ld);
    ring_products<T, E>(ring, r0, r1, ld, n, out);
  }
}
#endif
