// y[i] = x[r] / sqrt(mean(x[r]^2) + eps) * gain, r = rows[i], or i where rows is
// null.   x [N, D] f32, gain [D] 16-bit
//
// norm_half_*: y 16-bit, zeros up to its pitch: the input of a product.
// norm_float_*: y f32. Grid: one block of 256 a row. Bound by memory.
#include "types.cuh"

template <class T, bool Half>
DEVICE void norm(void *y, int ldy, const float *x, int ldx, const int *rows, const u16 *gain, float eps, int D) {
  ptx::after_previous();
  ptx::release();
  int i = ptx::bidx(), r = rows ? rows[i] : i;
  const float *from = x + (long long)r * ldx;
  float sum = 0;
  for (int k = ptx::tid(); k < D; k += 256)
    sum += from[k] * from[k];
  sum = block_sum<8>(sum, (float *)ptx::shared());
  float s = 1 / ptx::sqrt(sum / D + eps);
  for (int k = ptx::tid(); k < (Half ? ldy : D); k += 256) {
    float v = k < D ? from[k] * s * T::widen(gain[k]) : 0;
    if (Half)
      ((u16 *)y)[(long long)i * ldy + k] = narrow<T>(v);
    else
      ((float *)y)[(long long)i * ldy + k] = v;
  }
}

#define NORM(T, name, Half, half)                                                                                          \
  KERNEL(256, 1, norm_##half##_##name, void *y, int ldy, const float *x, int ldx, const int *rows, const u16 *gain,        \
         float eps, int D) {                                                                                               \
    norm<T, Half>(y, ldy, x, ldx, rows, gain, eps, D);                                                                     \
  }
NORM(BF16, bf16, true, half)
NORM(F16, f16, true, half)
NORM(BF16, bf16, false, float)
NORM(F16, f16, false, float)

// round_*: y[i] = x[i], rounded, zeros up to its pitch.
#define ROUND(T, name)                                                                                                     \
  KERNEL(256, 1, round_##name, u16 *y, int ldy, const float *x, int ldx, int D) {                                          \
    ptx::after_previous();                                                                                                 \
    ptx::release();                                                                                                        \
    for (int k = ptx::tid(); k < ldy; k += 256)                                                                            \
      y[(long long)ptx::bidx() * ldy + k] = k < D ? narrow<T>(x[(long long)ptx::bidx() * ldx + k]) : 0;                    \
  }
ROUND(BF16, bf16)
ROUND(F16, f16)
