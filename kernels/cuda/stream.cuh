// y[n, r] = W[r] . x[n] for up to eight rows n of x: the product of decoding,
// bound by reading W once.
//
// Sixteen rows of W are the A side of mma m16n8k16, the rows of x its columns, so
// that one to eight sequences cost the same and give the same bits. The order of
// k within a product is free as long as both sides agree: lane (g, t) loads 16
// bytes, elements 8t..8t+7 of 32, of rows g and g+8, and these feed two products
// without any exchange. Eight warps cut K; their parts are added in warp order.
// Four such steps of loads are under way while the four before are multiplied:
// 4 KiB a warp, 64 KiB an SM at two blocks.
//
// Rows come in pairs (2p, 2p+1) so that what an operation does with two outputs
// (rotation, gate and up) is at hand in one thread.
#pragma once
#include "types.cuh"

constexpr int kStreamThreads = 256;
constexpr int kStreamWarps = 8;
constexpr int kSegment = 128; // rows whose parts are held before they are added
constexpr int kAhead = 4;     // steps of 32 elements loaded at a time

// A thread's registers of one batch: rows g and g+8 of kAhead steps.
struct Batch {
  V4 a[kAhead], b[kAhead];
};

// pitch_of is the pitch of x in shared memory, elements: a half turn of the banks
// past a multiple of all, so that rows g and g+1 fall on different ones.
DEVICE int stream_pitch(int ld) { return ld + 32; }

// stream_shared: x [n, pitch] 16-bit, then parts [8, kSegment, n] float32.
DEVICE float *stream_parts(int ld, int n) { return (float *)(ptx::shared() + n * stream_pitch(ld) * 2); }

// stream_warm asks L2 for the first 64 KiB of this block's weights; called before the
// previous kernel's results are waited for.
template <class Rows> DEVICE void stream_warm(const Rows &rows, int r0, int r1, int ld) {
  const int lines = ld / 64; // of 128 bytes
  const int n = min((r1 - r0) * lines, 512);
  for (int i = ptx::tid(); i < n; i += kStreamThreads)
    ptx::prefetch(rows.row(r0 + i / lines) + i % lines * 64);
}

// stream multiplies rows r0..r1-1 (both even) with x in shared memory and calls
// out(n, pair, y[2*pair], y[2*pair+1]). ld is the pitch of W and the length of
// its rows, zeros included: a multiple of 64. rows.row(r) is where row r starts.
template <class T, class Rows, class Out>
DEVICE void stream(const Rows &rows, int r0, int r1, int ld, int n, Out out) {
  const u16 *x = (const u16 *)ptx::shared();
  float *parts = stream_parts(ld, n);
  const int warp = ptx::tid() / 32, g = ptx::tid() % 32 / 4, t = ptx::tid() % 4;
  const int steps = ld / 32, lo = steps * warp / kStreamWarps, hi = steps * (warp + 1) / kStreamWarps;
  const int batches = ceil_div(hi - lo, kAhead);
  const u16 *xg = x + g * stream_pitch(ld) + 8 * t;
  const V4 zero = {0, 0, 0, 0};

  for (int s0 = r0; s0 < r1; s0 += kSegment) {
    const int s1 = min(s0 + kSegment, r1), tiles = ceil_div(s1 - s0, 16), jobs = tiles * batches;
    const u16 *pa = nullptr, *pb = nullptr;
    int tile = 0, batch = 0; // of the next load
    auto load = [&](Batch &q) {
      if (batch == 0) {
        int r = s0 + tile * 16 + g;
        pa = r < s1 ? rows.row(r) + 8 * t : nullptr;
        pb = r + 8 < s1 ? rows.row(r + 8) + 8 * t : nullptr;
      }
      int k = lo + batch * kAhead;
#pragma unroll
      for (int i = 0; i < kAhead; i++) {
        bool in = k + i < hi;
        q.a[i] = in && pa ? ptx::load_once(pa + (k + i) * 32) : zero;
        q.b[i] = in && pb ? ptx::load_once(pb + (k + i) * 32) : zero;
      }
      if (++batch == batches)
        batch = 0, tile++;
    };
    Batch next;
    if (jobs > 0)
      load(next);
    float c[4] = {0, 0, 0, 0};
    int at = 0, part = 0; // tile and batch of the present products
    for (int j = 0; j < jobs; j++) {
      Batch now = next;
      if (j + 1 < jobs)
        load(next);
      int k = lo + part * kAhead;
#pragma unroll
      for (int i = 0; i < kAhead; i++) {
        V4 y = zero;
        if (k + i < hi && g < n)
          y = *(const V4 *)(xg + (k + i) * 32);
        T::mma(c, now.a[i].x, now.b[i].x, now.a[i].y, now.b[i].y, y.x, y.y);
        T::mma(c, now.a[i].z, now.b[i].z, now.a[i].w, now.b[i].w, y.z, y.w);
      }
      if (++part == batches) {
        float *to = parts + (warp * kSegment + at * 16 + g) * n + 2 * t;
        if (2 * t < n)
          to[0] = c[0], to[8 * n] = c[2];
        if (2 * t + 1 < n)
          to[1] = c[1], to[8 * n + 1] = c[3];
        c[0] = c[1] = c[2] = c[3] = 0;
        part = 0, at++;
      }
    }
    if (batches == 0) // fewer steps than warps
      for (int i = ptx::tid() % 32; i < kSegment * n; i += 32)
        parts[warp * kSegment * n + i] = 0;
    ptx::sync();
    for (int i = ptx::tid(); i < (s1 - s0) / 2 * n; i += kStreamThreads) {
      int pair = i / n, col = i % n;
      const float *from = parts + 2 * pair * n + col;
      float a = 0, b = 0;
#pragma unroll
      for (int w = 0; w < kStreamWarps; w++) {
        a += from[w * kSegment * n];
        b += from[w * kSegment * n + n];
      }
      out(col, s0 / 2 + pair, a, b);
    }
    ptx::sync();
  }
}

// stream_share is the part of [0, pairs) that falls to this block, as rows.
DEVICE void stream_share(int pairs, int &r0, int &r1) {
  r0 = 2 * (int)((long long)pairs * ptx::bidx() / ptx::gridx());
  r1 = 2 * (int)((long long)pairs * (ptx::bidx() + 1) / ptx::gridx());
}

// stage_norm puts norm(x[i]) of n rows into shared memory, rounded, zeros up to
// ld: x / sqrt(mean(x^2) + eps) * gain.   x [n, ldx] f32, gain [D], both with zeros
// in their tails. Four numbers an access; the first 4096 of a row stay in registers
// between the two passes.
template <class T> DEVICE void stage_norm(const float *x, int ldx, int n, int D, int ld, const u16 *gain, float eps) {
  constexpr int kHeld = 4;
  float *scratch = stream_parts(ld, n);
  const int tid = ptx::tid();
  for (int i = 0; i < n; i++) {
    const F4 *row = (const F4 *)(x + (long long)i * ldx);
    const F4 zero = {0, 0, 0, 0};
    F4 held[kHeld];
    float sum = 0;
#pragma unroll
    for (int j = 0; j < kHeld; j++) {
      int c = tid + j * kStreamThreads;
      held[j] = 4 * c < D ? ptx::load_floats(row + c) : zero;
    }
#pragma unroll
    for (int j = 0; j < kHeld; j++)
      sum += held[j].x * held[j].x + held[j].y * held[j].y + held[j].z * held[j].z + held[j].w * held[j].w;
    for (int c = tid + kHeld * kStreamThreads; 4 * c < D; c += kStreamThreads) {
      F4 v = ptx::load_floats(row + c);
      sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    }
    sum = block_sum<kStreamWarps>(sum, scratch);
    const float s = 1 / ptx::sqrt(sum / D + eps);
    V2 *to = (V2 *)((u16 *)ptx::shared() + i * stream_pitch(ld));
    auto put = [&](int c, F4 v) {
      V2 g = *(const V2 *)(gain + 4 * c);
      to[c] = {T::pack(v.x * s * T::widen((u16)g.x), v.y * s * T::widen((u16)(g.x >> 16))),
               T::pack(v.z * s * T::widen((u16)g.y), v.w * s * T::widen((u16)(g.y >> 16)))};
    };
#pragma unroll
    for (int j = 0; j < kHeld; j++) {
      int c = tid + j * kStreamThreads;
      if (4 * c < ld)
        put(c, held[j]);
    }
    for (int c = tid + kHeld * kStreamThreads; 4 * c < ld; c += kStreamThreads)
      put(c, 4 * c < D ? ptx::load_floats(row + c) : zero);
  }
  ptx::sync();
}

// stage_half copies n rows as they are; their tails up to ld are zero already.
DEVICE void stage_half(const u16 *x, int ldx, int n, int ld) {
  u16 *to = (u16 *)ptx::shared();
  int chunks = ld / 8;
  for (int i = ptx::tid(); i < n * chunks; i += kStreamThreads)
    *(V4 *)(to + i / chunks * stream_pitch(ld) + i % chunks * 8) = ptx::load(x + (long long)(i / chunks) * ldx + i % chunks * 8);
  ptx::sync();
}

// stage_float rounds n rows of K elements, zeros up to ld.   x [n, ldx] f32, zeros
// in its tail
template <class T> DEVICE void stage_float(const float *x, int ldx, int n, int K, int ld) {
  const F4 zero = {0, 0, 0, 0};
  for (int i = 0; i < n; i++) {
    const F4 *row = (const F4 *)(x + (long long)i * ldx);
    V2 *to = (V2 *)((u16 *)ptx::shared() + i * stream_pitch(ld));
    for (int c = ptx::tid(); 4 * c < ld; c += kStreamThreads) {
      F4 v = 4 * c < K ? ptx::load_floats(row + c) : zero;
      to[c] = {T::pack(v.x, v.y), T::pack(v.z, v.w)};
    }
  }
  ptx::sync();
}
