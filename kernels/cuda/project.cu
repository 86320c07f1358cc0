// The large products of training: those with a stored matrix W [out, in].
//
//   project_*:        y[n] (+)= W x[n] + B u[n]
//   project_back_*:   x'[n] (+)= scale[n].y (W^T y'[n] + scale[n].x drop(A^T u'[n]))
//   project_weight_*: W' += y'^T x, sums over tokens
//
//   x [N, in], y' [N, out], W 16-bit, pitches a multiple of 64 with zero tails, all
//   of one type; u, u' [N, rank], B [out, rank], A [rank, in] bfloat16, likewise;
//   y, x', W' float32; scale [N] pairs, null = 1 twice; rank 0 = no adapter
//
// The adapter's few steps of K come first, in the same registers: its part of the
// sum costs no memory of its own, and dropout is a factor on them before the others
// are added. They are bfloat16 whatever W is, since their float32 sources may have
// any size; y' is scaled by rows where W is float16 (project_operands.cu).
// W is read as it lies by all three. Grid: (tiles of N, tiles of the other side):
// neighbouring blocks share a tile of W. 2*N*out*in flops; bound by arithmetic.
#include "dropout.cuh"
#include "layouts.cuh"

template <class T, class S>
DEVICE void project(S, float *y, int ldy, const u16 *x, int ldx, const u16 *w, int ld, int n, int out, int in, const u16 *u,
                    const u16 *b, int ldu, int rank, int add, int m0, int n0) {
  ptx::after_previous();
  ptx::release();
  Accumulator<S> sum;
  if (rank > 0)
    accumulate_few(sum, Along{u, ldu, n}, Along{b, ldu, out}, rank, m0, n0);
  accumulate<T>(sum, Along{x, ldx, n}, Along{w, ld, out}, in, m0, n0);
  each(sum, m0, n0, [&](int i, int j, float &a, float &b) {
    if (i < n)
      put(y + (long long)i * ldy, j, out, a, b, add);
  });
}

#define PROJECT(T, name, Size, size, blocks, rows, cols)                                                                   \
  KERNEL(128, blocks, project_##size##_##name, float *y, int ldy, const u16 *x, int ldx, const u16 *w, int ld, int n,      \
         int out, int in, const u16 *u, const u16 *b, int ldu, int rank, int add) {                                        \
    project<T>(Size{}, y, ldy, x, ldx, w, ld, n, out, in, u, b, ldu, rank, add, ptx::bidx() * rows, ptx::bidy() * cols);   \
  }
PROJECT(BF16, bf16, Broad, broad, 2, 128, 128)
PROJECT(F16, f16, Broad, broad, 2, 128, 128)
PROJECT(BF16, bf16, Medium, medium, 3, 128, 64)
PROJECT(F16, f16, Medium, medium, 3, 128, 64)
PROJECT(BF16, bf16, Quarter, quarter, 4, 64, 64)
PROJECT(F16, f16, Quarter, quarter, 4, 64, 64)

template <class T, class S>
DEVICE void project_back(S, float *dx, int lddx, const u16 *dy, int lddy, const u16 *w, int ld, int n, int out, int in,
                         const F2 *scale, const u16 *u, int ldu, const u16 *a, int lda, int rank, Mask mask, float keep,
                         int add, int m0, int n0) {
  ptx::after_previous();
  ptx::release();
  Accumulator<S> sum;
  if (rank > 0) {
    accumulate_few(sum, Along{u, ldu, n}, Across{a, lda}, rank, m0, n0);
    int last = -1;
    Mask::Row row = {0, 0};
    float s = 1;
    each(sum, m0, n0, [&](int i, int j, float &a, float &b) {
      if (i >= n)
        return;
      if (i != last) {
        last = i;
        s = keep * (scale ? scale[i].x : 1);
        if (mask.places)
          row = mask.row(i);
      }
      a *= s, b *= s;
      if (mask.places)
        mask.two(row, j, a, b);
    });
  }
  accumulate<T>(sum, Along{dy, lddy, n}, Across{w, ld}, out, m0, n0);
  each(sum, m0, n0, [&](int i, int j, float &a, float &b) {
    if (i < n) {
      float s = scale ? scale[i].y : 1;
      put(dx + (long long)i * lddx, j, in, a * s, b * s, add);
    }
  });
}

#define PROJECT_BACK(T, name, Size, size, blocks, rows, cols)                                                              \
  KERNEL(128, blocks, project_back_##size##_##name, float *dx, int lddx, const u16 *dy, int lddy, const u16 *w, int ld,    \
         int n, int out, int in, const F2 *scale, const u16 *u, int ldu, const u16 *a, int lda, int rank,                  \
         const Place *places, const u64 *keys, u64 key, u32 limit, float keep, int add) {                                           \
    project_back<T>(Size{}, dx, lddx, dy, lddy, w, ld, n, out, in, scale, u, ldu, a, lda, rank, {places, keys, key, limit, in}, \
                    keep, add, ptx::bidx() * rows, ptx::bidy() * cols);                                                    \
  }
PROJECT_BACK(BF16, bf16, Broad, broad, 2, 128, 128)
PROJECT_BACK(F16, f16, Broad, broad, 2, 128, 128)
PROJECT_BACK(BF16, bf16, Medium, medium, 3, 128, 64)
PROJECT_BACK(F16, f16, Medium, medium, 3, 128, 64)
PROJECT_BACK(BF16, bf16, Quarter, quarter, 4, 64, 64)
PROJECT_BACK(F16, f16, Quarter, quarter, 4, 64, 64)

template <class S>
DEVICE void project_weight(S, float *dw, int lddw, const u16 *dy, int lddy, const u16 *x, int ldx, int n, int out, int in,
                           int m0, int n0) {
  ptx::after_previous();
  ptx::release();
  Accumulator<S> sum;
  accumulate<BF16>(sum, Across{dy, lddy}, Across{x, ldx}, n, m0, n0);
  each(sum, m0, n0, [&](int i, int j, float &a, float &b) {
    if (i < out)
      put(dw + (long long)i * lddw, j, in, a, b, true);
  });
}

#define PROJECT_WEIGHT(Size, size, blocks, rows, cols)                                                                     \
  KERNEL(128, blocks, project_weight_##size, float *dw, int lddw, const u16 *dy, int lddy, const u16 *x, int ldx, int n,   \
         int out, int in) {                                                                                                \
    project_weight(Size{}, dw, lddw, dy, lddy, x, ldx, n, out, in, ptx::bidx() * rows, ptx::bidy() * cols);                \
  }
PROJECT_WEIGHT(Broad, broad, 2, 128, 128)
PROJECT_WEIGHT(Medium, medium, 3, 128, 64)
PROJECT_WEIGHT(Quarter, quarter, 4, 64, 64)
