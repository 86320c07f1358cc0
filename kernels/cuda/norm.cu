// y[i] = x[r] / sqrt(mean(x[r]^2) + eps) * gain, r = rows[i], or i where rows is
// null.   x [N, D] f32, gain [D] 16-bit
//
// norm_half_*: y 16-bit, the input of a product; norm_float_*: y f32. Zeros up to
// the pitch, of x and gain too. Grid: one block of 256 a row. Bound by memory.
#include "types.cuh"

template <class T, bool Half>
DEVICE void norm(void *y, int ldy, const float *x, int ldx, const int *rows, const u16 *gain, float eps, int D) {
  ptx::release();
  ptx::after_previous();
  int i = ptx::bidx(), r = rows ? rows[i] : i;
  const F4 *from = (const F4 *)(x + (long long)r * ldx); // zeros in its tail
  float sum = 0;
  for (int c = ptx::tid(); 4 * c < D; c += 256) {
    F4 v = ptx::load_floats(from + c);
    sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  }
  sum = block_sum<8>(sum, (float *)ptx::shared());
  float s = 1 / ptx::sqrt(sum / D + eps);
  const F4 zero = {0, 0, 0, 0};
  for (int c = ptx::tid(); 4 * c < ldy; c += 256) {
    F4 v = 4 * c < D ? ptx::load_floats(from + c) : zero;
    V2 g = 4 * c < D ? *(const V2 *)(gain + 4 * c) : V2{0, 0};
    v = {v.x * s * T::widen((u16)g.x), v.y * s * T::widen((u16)(g.x >> 16)), v.z * s * T::widen((u16)g.y), v.w * s * T::widen((u16)(g.y >> 16))};
    if (Half)
      *(V2 *)((u16 *)y + (long long)i * ldy + 4 * c) = {T::pack(v.x, v.y), T::pack(v.z, v.w)};
    else
      *(F4 *)((float *)y + (long long)i * ldy + 4 * c) = v;
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
    const F4 *from = (const F4 *)(x + (long long)ptx::bidx() * ldx), zero = {0, 0, 0, 0};                                  \
    V2 *to = (V2 *)(y + (long long)ptx::bidx() * ldy);                                                                     \
    for (int c = ptx::tid(); 4 * c < ldy; c += 256) {                                                                      \
      F4 v = 4 * c < D ? ptx::load_floats(from + c) : zero;                                                                                   \
      to[c] = {T::pack(v.x, v.y), T::pack(v.z, v.w)};                                                                      \
    }                                                                                                                      \
  }
ROUND(BF16, bf16)
ROUND(F16, f16)
