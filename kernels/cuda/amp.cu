// The sums that AMP needs (arXiv 2504.21174), added in a fixed order.
//
//   head_sums_*:  partial[h, tile] = sum over a tile of | Wo[:, h] a[n, h] |
//     a [N, H*Dh] 16-bit, Wo [D, H*Dh] 16-bit; [N, H, D] is never in memory: a
//     block makes a 128x128 tile of one head's product and keeps its absolute sum.
//     Grid: (tiles of D, tiles of N, H). 2*N*D*H*Dh flops. Dh a multiple of 8.
//   head_sums_any_*: the same for any Dh, without tensor cores; one block a head.
//   gather_sums: sums[h] = sum of the head's partial sums, float64.
//   column_sums_*: sums[j] = sum_n | m[n, j] |, float64; a thread a column.
#include "tiles.cuh"

struct AbsoluteOut {
  using Row = int;
  struct Before {};
  float *sum; // this thread's
  int out;
  MEMBER int row(int n) const { return n; }
  MEMBER Before before(int, int) const { return {}; }
  MEMBER void operator()(int, int pair, float a, float b, Before) const {
    *sum += __builtin_fabsf(a) + (2 * pair + 1 < out ? __builtin_fabsf(b) : 0);
  }
};

#define HEAD_SUMS(T, name)                                                                                                 \
  KERNEL(256, 2, head_sums_##name, float *partial, const u16 *a, int lda, const u16 *wo, int ld, int D, int Dh, int n) {   \
    ptx::after_previous();                                                                                                 \
    ptx::release();                                                                                                        \
    int h = ptx::bidz();                                                                                                   \
    float sum = 0;                                                                                                         \
    product<T, u16>(Large{}, Half{a + h * Dh, lda}, Half{wo + h * Dh, ld}, n, D, Dh, ptx::bidy() * 128, ptx::bidx() * 128,      \
               AbsoluteOut{&sum, D});                                                                                      \
    ptx::sync();                                                                                                           \
    sum = block_sum<8>(sum, (float *)ptx::shared());                                                                       \
    if (ptx::tid() == 0)                                                                                                   \
      partial[(h * ptx::gridy() + ptx::bidy()) * ptx::gridx() + ptx::bidx()] = sum;                                        \
  }
HEAD_SUMS(BF16, bf16)
HEAD_SUMS(F16, f16)

#define HEAD_SUMS_ANY(T, name)                                                                                             \
  KERNEL(256, 1, head_sums_any_##name, float *partial, const u16 *a, int lda, const u16 *wo, int ld, int D, int Dh,        \
         int n) {                                                                                                          \
    ptx::after_previous();                                                                                                 \
    ptx::release();                                                                                                        \
    int h = ptx::bidx();                                                                                                   \
    float sum = 0;                                                                                                         \
    for (int d = ptx::tid(); d < D; d += 256)                                                                              \
      for (int i = 0; i < n; i++) {                                                                                        \
        float v = 0;                                                                                                       \
        for (int k = 0; k < Dh; k++)                                                                                       \
          v += T::widen(wo[(long long)d * ld + h * Dh + k]) * T::widen(a[(long long)i * lda + h * Dh + k]);                \
        sum += __builtin_fabsf(v);                                                                                         \
      }                                                                                                                    \
    sum = block_sum<8>(sum, (float *)ptx::shared());                                                                       \
    if (ptx::tid() == 0)                                                                                                   \
      partial[h] = sum;                                                                                                    \
  }
HEAD_SUMS_ANY(BF16, bf16)
HEAD_SUMS_ANY(F16, f16)

KERNEL(256, 1, gather_sums, double *sums, const float *partial, int each) {
  ptx::after_previous();
  ptx::release();
  const float *from = partial + (long long)ptx::bidx() * each;
  double sum = 0;
  for (int i = ptx::tid(); i < each; i += 256)
    sum += from[i];
  sum = block_sum<8>(sum, (double *)ptx::shared());
  if (ptx::tid() == 0)
    sums[ptx::bidx()] = sum;
}

#define COLUMN_SUMS(T, name)                                                                                               \
  KERNEL(128, 1, column_sums_##name, double *sums, const u16 *m, int ldm, int I, int n) {                                  \
    ptx::after_previous();                                                                                                 \
    ptx::release();                                                                                                        \
    int j = ptx::bidx() * 128 + ptx::tid();                                                                                \
    if (j >= I)                                                                                                            \
      return;                                                                                                              \
    double sum = 0;                                                                                                        \
    for (int i = 0; i < n; i++)                                                                                            \
      sum += __builtin_fabsf(T::widen(m[(long long)i * ldm + j]));                                                         \
    sums[j] = sum;                                                                                                         \
  }
COLUMN_SUMS(BF16, bf16)
COLUMN_SUMS(F16, f16)
