// Matrices of 8 bits: q[r, k] = w[r, k] / scale[r] to the nearest,
// scale[r] = max |w[r]| / 127.
//
//   w [rows, D] 16-bit, pitch ldw; q [rows, D] 8-bit, pitch ld, zeros past D, in the order
//   of byte_place; scales [rows] f32
//
// Rounding is device.RoundInt8's, to the bit. Blocks of 256: a warp a row. Bound by memory:
// 3 bytes an element.
#include "types.cuh"

template <class T> DEVICE void round_i8(Byte *q, int ld, float *scales, const u16 *w, int ldw, int rows, int D) {
  ptx::after_previous();
  ptx::release();
  const int r = ptx::bidx() * 8 + ptx::tid() / 32, lane = ptx::tid() % 32;
  if (r >= rows)
    return;
  const u16 *row = w + (long long)r * ldw;
  float most = 0, bad = 0;
  for (int k = lane; k < D; k += 32) {
    float v = T::widen(row[k]);
    most = max(most, max(v, -v)), bad += v - v;
  }
  most = warp_max(most), bad = warp_sum(bad);
  const bool zero = most == 0 || bad != 0;
  const float scale = zero ? bad : max(most / 127, 1.4012985e-45f);
  const double inverse = zero ? 0 : 1 / (double)scale;
  Byte *to = q + (long long)r * ld;
  for (int k = lane; k < ld; k += 32) {
    double x = k < D && !zero ? T::widen(row[k]) * inverse : 0;
    to[byte_place(k)] = (Byte)ptx::nearest(x < -127 ? -127 : x > 127 ? 127 : x);
  }
  if (lane == 0)
    scales[r] = scale;
}

#define ROUND_I8(T, name)                                                                                                  \
  KERNEL(256, 1, round_i8_##name, Byte *q, int ld, float *scales, const u16 *w, int ldw, int rows, int D) {                \
    round_i8<T>(q, ld, scales, w, ldw, rows, D);                                                                           \
  }
ROUND_I8(BF16, bf16)
ROUND_I8(F16, f16)
