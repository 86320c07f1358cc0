// The small products of an adapter, A [rank, in], B [out, rank]: bound by reading
// the activations [N, cols], which they take in float32 and round to bfloat16 on
// their way to the tensor cores; dropout is applied there.
//
//   rank_*:    part[s][n, r] = sum over the s-th 256 columns k of
//              drop(x)[n, k] a(r, k), a being A (rank_down) or B^T (rank_up, for
//              y' B); also half[n] = x[n] rounded to a 16-bit type, undropped,
//              where half is not null
//   rank_join: u[n, r] = f sum_s part[s][n, r]; half[n, r] = g u[n, r] in bfloat16;
//              and a matrix m rounded to bfloat16, for the large products
//   rank_grad: B' += fb y'^T u and A' += fa u'^T drop(x), sums over tokens
//
// A row's sums depend on its length alone, those over tokens on their number.
// Grids: rank_*: (parts, 64 rows, 64 of rank); rank_join: 256 elements a block,
// first those of u, then four by four of m; rank_grad: (64 of out, then of in; 64 of
// rank).
#include "dropout.cuh"
#include "layouts.cuh"

constexpr int kSide = 64;        // of all tiles here
constexpr int kPartColumns = 256; // columns of a part

// Square is a 64x64 piece of a float32 matrix in registers: 16 threads a row.
struct Square {
  F4 v[8];

  // fetch takes rows r0.. and columns c0.. of x [rows, cols]; zeros past them.
  MEMBER void fetch(const float *x, int ld, int rows, int cols, int r0, int c0) {
    const int c = c0 + ptx::tid() % 16 * 4, r = r0 + ptx::tid() / 16;
#pragma unroll
    for (int i = 0; i < 8; i++) {
      v[i] = {0, 0, 0, 0};
      if (r + 8 * i < rows && c < cols) {
        v[i] = ptx::load_floats(x + (long long)(r + 8 * i) * ld + c);
        v[i].y = c + 1 < cols ? v[i].y : 0, v[i].z = c + 2 < cols ? v[i].z : 0, v[i].w = c + 3 < cols ? v[i].w : 0;
      }
    }
  }
  MEMBER void drop(const Mask &mask, int rows, int r0, int c0) {
    const int c = c0 + ptx::tid() % 16 * 4, r = r0 + ptx::tid() / 16;
#pragma unroll
    for (int i = 0; i < 8; i++)
      if (r + 8 * i < rows) {
        Mask::Row row = mask.row(r + 8 * i);
        mask.two(row, c, v[i].x, v[i].y);
        mask.two(row, c + 2, v[i].z, v[i].w);
      }
  }
  // lay rounds it to a stage [64, 64] in shared memory.
  MEMBER void lay(u16 *to) const {
    const int quad = ptx::tid() % 16, r = ptx::tid() / 16;
#pragma unroll
    for (int i = 0; i < 8; i++)
      *(V2 *)(to + (r + 8 * i) * kSide + ((quad / 2) ^ (r + 8 * i) % 8) * 8 + quad % 2 * 4) = {BF16::pack(v[i].x, v[i].y), BF16::pack(v[i].z, v[i].w)};
  }
  // store rounds it to rows of a matrix; ld is a multiple of 64.
  template <class T> MEMBER void store(u16 *half, int ld, int rows, int r0, int c0) const {
    const int c = c0 + ptx::tid() % 16 * 4, r = r0 + ptx::tid() / 16;
#pragma unroll
    for (int i = 0; i < 8; i++)
      if (r + 8 * i < rows)
        *(V2 *)(half + (long long)(r + 8 * i) * ld + c) = {T::pack(v[i].x, v[i].y), T::pack(v[i].z, v[i].w)};
  }
};

// A is what lies in a's stage: Along for A, Across for B.
template <class T, class A>
DEVICE void rank_product(float *part, const float *x, int ldx, int n, int cols, const float *a, int lda, int rank, u16 *half,
                         int ldh, Mask mask) {
  ptx::after_previous();
  ptx::release();
  constexpr int kStage = 2 * kSide * kSide;
  u16 *shared = (u16 *)ptx::shared();
  const int first = ptx::bidx() * kPartColumns, n0 = ptx::bidy() * kSide, r0 = ptx::bidz() * kSide;
  const int steps = min(kPartColumns / kSide, ceil_div(cols - first, kSide));
  Accumulator<Quarter> sum;
  Square rows, side;
  auto fetch = [&](int step) {
    int k = first + step * kSide;
    rows.fetch(x, ldx, n, cols, n0, k);
    if (__is_same(A, Along))
      side.fetch(a, lda, rank, cols, r0, k);
    else
      side.fetch(a, lda, cols, rank, k, r0);
  };
  fetch(0);
  for (int step = 0; step < steps; step++) {
    u16 *stage = shared + step % 2 * kStage;
    int k = first + step * kSide;
    if (half && r0 == 0)
      rows.store<T>(half, ldh, n, n0, k);
    if (mask.places)
      rows.drop(mask, n, n0, k);
    rows.lay(stage);
    side.lay(stage + kSide * kSide);
    ptx::sync(); // the other stage is free: all have passed the barrier after it
    if (step + 1 < steps)
      fetch(step + 1);
    multiply<BF16, Along, A>(sum, stage, stage + kSide * kSide, [](int) {});
  }
  part += (long long)ptx::bidx() * n * rank;
  each(sum, n0, r0, [&](int i, int r, float &a, float &b) {
    if (i < n && r < rank)
      part[(long long)i * rank + r] = a;
    if (i < n && r + 1 < rank)
      part[(long long)i * rank + r + 1] = b;
  });
}

#define RANK(T, name, A, side)                                                                                             \
  KERNEL(128, 2, rank_##side##_##name, float *part, const float *x, int ldx, int n, int cols, const float *a, int lda,     \
         int rank, u16 *half, int ldh, const Place *places, const u64 *keys, u64 key, u32 limit) {                                  \
    rank_product<T, A>(part, x, ldx, n, cols, a, lda, rank, half, ldh, {places, keys, key, limit, cols});                       \
  }
RANK(BF16, bf16, Along, down)
RANK(F16, f16, Along, down)
RANK(BF16, bf16, Across, up)

KERNEL(256, 1, rank_join, float *u, int ldu, u16 *half, int ldh, const float *part, int parts, int n, int rank, float f, float g,
       u16 *to, int ldt, const float *m, int ldm, int rows, int cols, int blocks) {
  ptx::after_previous();
  ptx::release();
  if (ptx::bidx() < blocks) {
    long long i = (long long)ptx::bidx() * 256 + ptx::tid();
    int row = (int)(i / ldh), r = (int)(i % ldh);
    if (row >= n)
      return;
    float sum = 0;
    if (r < rank) {
#pragma unroll 8
      for (int s = 0; s < parts; s++)
        sum += part[((long long)s * n + row) * rank + r];
      sum *= f;
      u[(long long)row * ldu + r] = sum;
    }
    half[(long long)row * ldh + r] = narrow<BF16>(g * sum);
    return;
  }
  long long i = (long long)(ptx::bidx() - blocks) * 256 + ptx::tid();
  int row = (int)(i / (ldt / 4)), c = (int)(i % (ldt / 4)) * 4;
  if (row >= rows)
    return;
  F4 v = {0, 0, 0, 0};
  if (c < cols) {
    v = ptx::load_floats(m + (long long)row * ldm + c);
    v.y = c + 1 < cols ? v.y : 0, v.z = c + 2 < cols ? v.z : 0, v.w = c + 3 < cols ? v.w : 0;
  }
  *(V2 *)(to + (long long)row * ldt + c) = {BF16::pack(v.x, v.y), BF16::pack(v.z, v.w)};
}

// Gradient is one of the two: C += f drop(x)^T u.
struct Gradient {
  float *c;
  int ldc, turned;
  const float *x;
  int ldx, cols;
  const float *u;
  int ldu;
  float f;
  Mask mask;
};

DEVICE void rank_gradient(const Gradient &g, int n, int rank, int c0, int r0) {
  constexpr int kStage = 2 * kSide * kSide;
  u16 *shared = (u16 *)ptx::shared();
  const int steps = ceil_div(n, kSide);
  Accumulator<Quarter> sum;
  Square left, right;
  auto fetch = [&](int step) {
    left.fetch(g.x, g.ldx, n, g.cols, step * kSide, c0);
    right.fetch(g.u, g.ldu, n, rank, step * kSide, r0);
  };
  fetch(0);
  for (int step = 0; step < steps; step++) {
    u16 *stage = shared + step % 2 * kStage;
    if (g.mask.places)
      left.drop(g.mask, n, step * kSide, c0);
    left.lay(stage);
    right.lay(stage + kSide * kSide);
    ptx::sync();
    if (step + 1 < steps)
      fetch(step + 1);
    multiply<BF16, Across, Across>(sum, stage, stage + kSide * kSide, [](int) {});
  }
  each(sum, c0, r0, [&](int i, int r, float &a, float &b) {
    if (i >= g.cols)
      return;
    if (!g.turned) {
      put(g.c + (long long)i * g.ldc, r, rank, g.f * a, g.f * b, true);
      return;
    }
    if (r < rank)
      g.c[(long long)r * g.ldc + i] += g.f * a;
    if (r + 1 < rank)
      g.c[(long long)(r + 1) * g.ldc + i] += g.f * b;
  });
}

KERNEL(128, 2, rank_grad, float *db, int lddb, const float *dy, int lddy, int out, const float *u, int ldu, float fb,
       float *da, int ldda, const float *x, int ldx, int in, const float *du, int lddu, float fa, int n, int rank,
       const Place *places, const u64 *keys, u64 key, u32 limit) {
  ptx::after_previous();
  ptx::release();
  const int tiles = ceil_div(out, kSide), tile = ptx::bidx();
  Gradient g = {da, ldda, 1, x, ldx, in, du, lddu, fa, {places, keys, key, limit, in}};
  if (tile < tiles)
    g = {db, lddb, 0, dy, lddy, out, u, ldu, fb, {}};
  rank_gradient(g, n, rank, (tile < tiles ? tile : tile - tiles) * kSide, ptx::bidy() * kSide);
}
