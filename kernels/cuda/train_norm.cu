// norm_keep: y = x r * w, r = 1/sqrt(mean(x^2) + eps), a row at a time.
// norm_back: x' += r (w*y' - x mean(w*y'*x) r^2).
// norm_gain: w' += sum_n y'[n]*x[n] r[n], n in order.
//   x, y, x', y' [N, D] f32; r [N, 1] f32; w [D]; w' [D] f32
//
// Grid: a block of 256 a row; norm_gain: a thread a column, 128 a block. Bound by
// memory: 8, 16 and 8 bytes an element.
#include "rows.cuh"

template <class T> DEVICE void norm_keep(float *y, int ldy, float *r, int ldr, const float *x, int ldx, const void *gain, float eps, int D) {
  ptx::after_previous();
  ptx::release();
  const float *in = x + (long long)ptx::bidx() * ldx;
  float sum = 0;
  for (int k = 4 * ptx::tid(); k < D; k += 4 * 256) {
    F4 v = ptx::load_floats(in + k);
    sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  }
  sum = block_sum<8>(sum, (float *)ptx::shared());
  float s = 1 / ptx::sqrt(sum / D + eps);
  if (ptx::tid() == 0)
    r[(long long)ptx::bidx() * ldr] = s;
  float *out = y + (long long)ptx::bidx() * ldy;
  for (int k = 4 * ptx::tid(); k < D; k += 4 * 256) {
    F4 v = ptx::load_floats(in + k), g = Row<T>::four(gain, k);
    *(F4 *)(out + k) = {v.x * s * g.x, v.y * s * g.y, v.z * s * g.z, v.w * s * g.w};
  }
}

template <class T>
DEVICE void norm_back(float *dx, int lddx, const float *dy, int lddy, const float *x, int ldx, const float *r, int ldr, const void *gain, int D) {
  ptx::after_previous();
  ptx::release();
  const float *in = x + (long long)ptx::bidx() * ldx, *grad = dy + (long long)ptx::bidx() * lddy;
  float sum = 0;
  for (int k = 4 * ptx::tid(); k < D; k += 4 * 256) {
    F4 v = ptx::load_floats(in + k), d = ptx::load_floats(grad + k), g = Row<T>::four(gain, k);
    sum += g.x * d.x * v.x + g.y * d.y * v.y + g.z * d.z * v.z + g.w * d.w * v.w;
  }
  sum = block_sum<8>(sum, (float *)ptx::shared());
  const float s = r[(long long)ptx::bidx() * ldr], c = sum / D * s * s;
  float *out = dx + (long long)ptx::bidx() * lddx;
  for (int k = 4 * ptx::tid(); k < D; k += 4 * 256) {
    F4 v = ptx::load_floats(in + k), d = ptx::load_floats(grad + k), g = Row<T>::four(gain, k), o = ptx::load_floats(out + k);
    *(F4 *)(out + k) = {o.x + s * (g.x * d.x - v.x * c), o.y + s * (g.y * d.y - v.y * c), o.z + s * (g.z * d.z - v.z * c),
                        o.w + s * (g.w * d.w - v.w * c)};
  }
}

#define NORM_TRAIN(T, name)                                                                                                \
  KERNEL(256, 1, norm_keep_##name, float *y, int ldy, float *r, int ldr, const float *x, int ldx, const void *gain,        \
         float eps, int D) {                                                                                               \
    norm_keep<T>(y, ldy, r, ldr, x, ldx, gain, eps, D);                                                                    \
  }                                                                                                                        \
  KERNEL(256, 1, norm_back_##name, float *dx, int lddx, const float *dy, int lddy, const float *x, int ldx,                \
         const float *r, int ldr, const void *gain, int D) {                                                               \
    norm_back<T>(dx, lddx, dy, lddy, x, ldx, r, ldr, gain, D);                                                             \
  }
NORM_TRAIN(BF16, bf16)
NORM_TRAIN(F16, f16)
NORM_TRAIN(F32, f32)

KERNEL(128, 1, norm_gain, float *dw, const float *dy, int lddy, const float *x, int ldx, const float *r, int ldr, int D, int n) {
  ptx::after_previous();
  ptx::release();
  int j = ptx::bidx() * 128 + ptx::tid();
  if (j >= D)
    return;
  float sum = dw[j];
#pragma unroll 8
  for (int i = 0; i < n; i++)
    sum += dy[(long long)i * lddy + j] * x[(long long)i * ldx + j] * r[(long long)i * ldr];
  dw[j] = sum;
}
