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
// Weights of 8 bits come as 16 elements a lane, which four products take after they
// are made numbers of the 16-bit type, exactly; the row's scale comes last.
//
// Rows come in pairs (2p, 2p+1) so that what an operation does with two outputs
// (rotation, gate and up) is at hand in one thread.
#pragma once
#include "types.cuh"

// HAS_GEMV: the set has these products; sm_90a has those of pipeline.cuh instead.
#if !defined(HOPPER) || defined(CUEMU)
#define HAS_GEMV
#endif

constexpr int kGemvThreads = 256;
constexpr int kGemvWarps = 8;
constexpr int kSegmentRows = 128; // rows whose parts are held before they are added
constexpr int kLoadSteps = 4;     // steps of 32 elements loaded at a time

// A thread's registers of one batch: rows g and g+8 of kAhead steps.
struct Batch {
  uint4 a[kLoadSteps], b[kLoadSteps];
};

// Format says how a lane's 16 bytes of weights are multiplied: kLane elements, with as
// many of x (X). kPast is how far the pitch of x in shared memory is past a multiple of all
// banks, elements, so that rows g and g+1 fall on different ones.
template <class T, class E> struct Format;
template <class T> struct Format<T, u16> {
  static constexpr int kPerLane = 8, kPitchPadding = 32;
  static constexpr int kPieces = 1; // of 16 bytes of x, multiplied one after another by multiply_piece
  using X = uint4;
  static __device__ __forceinline__ X at(const u16 *x, bool in) { return in ? ptx::ld_shared(x) : uint4{0, 0, 0, 0}; }
  static __device__ __forceinline__ void multiply(float (&c)[4], uint4 a, uint4 b, X y) {
    T::mma(c, a.x, b.x, a.y, b.y, y.x, y.y);
    T::mma(c, a.z, b.z, a.w, b.w, y.z, y.w);
  }
  static __device__ __forceinline__ void multiply_piece(float (&c)[4], uint4 a, uint4 b, uint4 y, int) {
    multiply(c, a, b, y);
  }
};
template <class T> struct Format<T, i8> {
  static constexpr int kPerLane = 16, kPitchPadding = 8;
  static constexpr int kPieces = 2;
  struct X {
    uint4 y, z;
  };
  static __device__ __forceinline__ X at(const u16 *x, bool in) {
    X r = {{0, 0, 0, 0}, {0, 0, 0, 0}};
    if (in)
      r.y = ptx::ld_shared(x), r.z = ptx::ld_shared(x + 8);
    return r;
  }
  // two is half of both pairs of words: columns k, k+1 and k+2, k+3 of rows g and g+8.
  static __device__ __forceinline__ void two(float (&c)[4], u32 a0, u32 b0, u32 a1, u32 b1, int upper, u32 y0, u32 y1) {
    T::mma(c, T::from_word(a0, upper), T::from_word(b0, upper), T::from_word(a1, upper), T::from_word(b1, upper), y0, y1);
  }
  static __device__ __forceinline__ void multiply_piece(float (&c)[4], uint4 a, uint4 b, uint4 y, int piece) {
    two(c, a.x, b.x, a.y, b.y, piece, y.x, y.y);
    two(c, a.z, b.z, a.w, b.w, piece, y.z, y.w);
  }
  static __device__ __forceinline__ void multiply(float (&c)[4], uint4 a, uint4 b, X x) {
    multiply_piece(c, a, b, x.y, 0);
    multiply_piece(c, a, b, x.z, 1);
  }
};

// x_pitch is the pitch of x in shared memory, elements, with weights E.
template <class E> static __device__ __forceinline__ int x_pitch(int ld) { return ld + Format<BF16, E>::kPitchPadding; }

// partial_sums: shared memory is x [n, pitch] 16-bit, then parts [8, kSegment, n] f32.
template <class E> static __device__ __forceinline__ float *partial_sums(int ld, int n) {
  return (float *)(smem + n * x_pitch<E>(ld) * 2);
}

// prefetch_weights requests into L2 the first 64 KiB of this block's weights; called before the
// previous kernel's results are waited for.
template <class E, class Rows>
static __device__ __forceinline__ void prefetch_weights(const Rows &rows, int r0, int r1, int ld) {
  constexpr int kLine = 128 / sizeof(E);
  const int lines = ld / kLine;
  const int n = min((r1 - r0) * lines, 512);
  for (int i = threadIdx.x; i < n; i += kGemvThreads)
    ptx::prefetch_l2(rows.row(r0 + i / lines) + i % lines * kLine);
}

// gemv multiplies rows r0..r1-1 (both even) with x in shared memory and calls
// out(row, pair, y[2*pair], y[2*pair+1], before), where row is out.row(n) and before
// out.before(row, pair). ld is the pitch of W and the length of
// its rows, zeros included: a multiple of 128 bytes. rows.row(r) is where row r starts.
template <class T, class E, class Rows, class Out>
static __device__ __forceinline__ void gemv(const Rows &rows, int r0, int r1, int ld, int n, Out out) {
  const u16 *x = (const u16 *)smem;
  float *parts = partial_sums<E>(ld, n);
  using F = Format<T, E>;
  constexpr int kStep = 4 * F::kPerLane; // elements that a row's four lanes load
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const int steps = ld / kStep, lo = steps * warp / kGemvWarps, hi = steps * (warp + 1) / kGemvWarps;
  const int batches = ceil_div(hi - lo, kLoadSteps);
  const u16 *xg = x + g * x_pitch<E>(ld) + F::kPerLane * t;
  const uint4 zero = {0, 0, 0, 0};

  for (int s0 = r0; s0 < r1; s0 += kSegmentRows) {
    const int s1 = min(s0 + kSegmentRows, r1), tiles = ceil_div(s1 - s0, 16), jobs = tiles * batches;
    const E *pa = nullptr, *pb = nullptr;
    int tile = 0, batch = 0; // of the next load
    auto load = [&](Batch &q) {
      if (batch == 0) {
        int r = s0 + tile * 16 + g;
        pa = r < s1 ? rows.row(r) + F::kPerLane * t : nullptr;
        pb = r + 8 < s1 ? rows.row(r + 8) + F::kPerLane * t : nullptr;
      }
      int k = lo + batch * kLoadSteps;
#pragma unroll
      for (int i = 0; i < kLoadSteps; i++) {
        bool in = k + i < hi;
        q.a[i] = in && pa ? ptx::ld_global_nc(pa + (k + i) * kStep) : zero;
        q.b[i] = in && pb ? ptx::ld_global_nc(pb + (k + i) * kStep) : zero;
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
      int k = lo + part * kLoadSteps;
#pragma unroll
      for (int i = 0; i < kLoadSteps; i++)
        F::multiply(c, now.a[i], now.b[i], F::at(xg + (k + i) * kStep, k + i < hi && g < n));
      if (++part == batches) {
        float *to = parts + (warp * kSegmentRows + at * 16 + g) * n + 2 * t;
        if (2 * t < n)
          to[0] = c[0], to[8 * n] = c[2];
        if (2 * t + 1 < n)
          to[1] = c[1], to[8 * n + 1] = c[3];
        c[0] = c[1] = c[2] = c[3] = 0;
        part = 0, at++;
      }
    }
    if (batches == 0) // fewer steps than warps
      for (int i = threadIdx.x % 32; i < kSegmentRows * n; i += 32)
        parts[warp * kSegmentRows * n + i] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < (s1 - s0) / 2 * n; i += kGemvThreads) {
      int pair = i / n, col = i % n;
      const typename Out::Row row = out.row(col);
      const typename Out::Source source = out.source(row, s0 / 2 + pair);
      const float *from = parts + 2 * pair * n + col;
      float a = 0, b = 0;
#pragma unroll
      for (int w = 0; w < kGemvWarps; w++) {
        a += from[w * kSegmentRows * n];
        b += from[w * kSegmentRows * n + n];
      }
      out(row, s0 / 2 + pair, a, b, source);
    }
    __syncthreads();
  }
}

// block_rows is the part of [0, pairs) that falls to this block, as rows. Blocks b
// and b + gridx/2, which a GPU gives to one SM, have shares beside each other: their sum
// is the same everywhere to one pair.
static __device__ __forceinline__ void block_rows(int pairs, int &r0, int &r1) {
  const int b = blockIdx.x, half = (gridDim.x + 1) / 2, at = b < half ? 2 * b : 2 * (b - half) + 1;
  r0 = 2 * (int)((long long)pairs * at / gridDim.x);
  r1 = 2 * (int)((long long)pairs * (at + 1) / gridDim.x);
}

// WholeBlock: the threads that put x into shared memory, and meet: here the whole block.
struct WholeBlock {
  static __device__ __forceinline__ void sync() { __syncthreads(); }
};

// Norm puts norm(x[i]) of n rows into shared memory, rounded, zeros up to ld:
// x / sqrt(mean(x^2) + eps) * gain.   x [n, ldx] f32, gain [D], both with zeros in their
// tails. Four numbers an access; a row is asked for while the one before is summed, and the
// first 4096 of the last stay in registers until all sums are there.
template <class T, class E> struct Norm {
  static constexpr int kHeld = 4;
  const float *x;
  int ldx, D;
  const u16 *gain;
  float eps;
  uint2 gains[kHeld];
  float4 first[kHeld]; // of row 0

  // prefetch reads the gain, a weight: before the previous kernel has ended.
  __device__ __forceinline__ void prefetch() {
#pragma unroll
    for (int j = 0; j < kHeld; j++) {
      int c = threadIdx.x + j * kGemvThreads;
      gains[j] = 4 * c < D ? *(const uint2 *)(gain + 4 * c) : uint2{0, 0};
    }
  }
  __device__ __forceinline__ const float4 *row(int i) const { return (const float4 *)(x + (long long)i * ldx); }
  __device__ __forceinline__ void load(float4 (&v)[kHeld], int i) const {
#pragma unroll
    for (int j = 0; j < kHeld; j++) {
      int c = threadIdx.x + j * kGemvThreads;
      v[j] = 4 * c < D ? ptx::ld_global_f4(row(i) + c) : float4{0, 0, 0, 0};
    }
  }
  // request begins to read x, after the previous kernel has ended.
  __device__ __forceinline__ void request() { load(first, 0); }
  static __device__ __forceinline__ float squares(float4 v) { return v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w; }
  static __device__ __forceinline__ uint2 rounded(float4 v, float s, uint2 g) {
    return {T::pack(v.x * s * T::widen((u16)g.x), v.y * s * T::widen((u16)(g.x >> 16))),
            T::pack(v.z * s * T::widen((u16)g.y), v.w * s * T::widen((u16)(g.y >> 16)))};
  }

  template <class Team> __device__ __forceinline__ void stage(int n, int ld) const {
    float *parts = partial_sums<E>(ld, n); // [n, warps]
    const int tid = threadIdx.x;
    float4 now[kHeld], next[kHeld];
#pragma unroll
    for (int j = 0; j < kHeld; j++)
      next[j] = first[j];
    for (int i = 0; i < n; i++) {
      float sum = 0;
#pragma unroll
      for (int j = 0; j < kHeld; j++)
        now[j] = next[j];
      if (i + 1 < n)
        load(next, i + 1);
#pragma unroll
      for (int j = 0; j < kHeld; j++)
        sum += squares(now[j]);
      for (int c = tid + kHeld * kGemvThreads; 4 * c < D; c += kGemvThreads)
        sum += squares(ptx::ld_global_f4(row(i) + c));
      sum = warp_sum(sum);
      if (tid % 32 == 0)
        parts[i * kGemvWarps + tid / 32] = sum;
    }
    Team::sync();
    for (int i = n - 1; i >= 0; i--) {
      if (i > 0)
        load(next, i - 1);
      float sum = parts[i * kGemvWarps];
#pragma unroll
      for (int w = 1; w < kGemvWarps; w++)
        sum += parts[i * kGemvWarps + w];
      const float s = 1 / ptx::sqrt(sum / D + eps);
      uint2 *to = (uint2 *)((u16 *)smem + i * x_pitch<E>(ld));
#pragma unroll
      for (int j = 0; j < kHeld; j++)
        if (int c = tid + j * kGemvThreads; 4 * c < ld)
          to[c] = rounded(now[j], s, gains[j]);
      for (int c = tid + kHeld * kGemvThreads; 4 * c < ld; c += kGemvThreads)
        to[c] = 4 * c < D ? rounded(ptx::ld_global_f4(row(i) + c), s, *(const uint2 *)(gain + 4 * c)) : uint2{0, 0};
#pragma unroll
      for (int j = 0; j < kHeld; j++)
        now[j] = next[j];
    }
    Team::sync();
  }
};

// load_x_half copies n rows as they are, with zeros up to ld; their tails up to ldx are
// zero already.
template <class E> static __device__ __forceinline__ void load_x_half(const u16 *x, int ldx, int n, int ld) {
  u16 *to = (u16 *)smem;
  int chunks = ld / 8;
  for (int i = threadIdx.x; i < n * chunks; i += kGemvThreads)
    *(uint4 *)(to + i / chunks * x_pitch<E>(ld) + i % chunks * 8) =
        i % chunks * 8 < ldx ? ptx::ld_global(x + (long long)(i / chunks) * ldx + i % chunks * 8) : uint4{0, 0, 0, 0};
  __syncthreads();
}

// load_x_float rounds n rows of K elements, zeros up to ld.   x [n, ldx] f32, zeros
// in its tail
template <class T, class E, class Team>
static __device__ __forceinline__ void load_x_float(const float *x, int ldx, int n, int K, int ld) {
  const float4 zero = {0, 0, 0, 0};
  for (int i = 0; i < n; i++) {
    const float4 *row = (const float4 *)(x + (long long)i * ldx);
    uint2 *to = (uint2 *)((u16 *)smem + i * x_pitch<E>(ld));
    for (int c = threadIdx.x; 4 * c < ld; c += kGemvThreads) {
      float4 v = 4 * c < K ? ptx::ld_global_f4(row + c) : zero;
      to[c] = {T::pack(v.x, v.y), T::pack(v.z, v.w)};
    }
  }
  Team::sync();
}
