// Matrices of 8 bits: rounding to them, and back to integers of a 16-bit type.
//
//   round_i8_*: q[r, k] = w[r, k] / scale[r] to the nearest, scale[r] = max |w[r]| / 127
//   widen_i8_*: to[r, k] = q[r, k], exactly; to's scales are q's
//
//   w [rows, D] 16-bit, pitch ldw; q [rows, D] 8-bit, pitch ld, zeros past D; to
//   [rows, D] 16-bit, pitch ldt, its scales after its rows
//
// Rounding is device.RoundInt8's, to the bit. Prefill multiplies the integers as 16-bit
// numbers by the kernels of 16-bit weights, and scales the sums. Blocks of 256: a warp a
// row to round, eight accesses a thread to widen. Bound by memory: 3 bytes an element.
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
    to[k] = (Byte)ptx::nearest(x < -127 ? -127 : x > 127 ? 127 : x);
  }
  if (lane == 0)
    scales[r] = scale;
}

constexpr int kWiden = 8; // accesses a thread

template <class T> DEVICE void widen_i8(u16 *to, int ldt, const Byte *q, int ld, const float *scales, int rows) {
  ptx::after_previous();
  ptx::release();
  const int each = ldt / 16; // accesses a row; ldt is at most ld
  const long long n = (long long)rows * each, first = (long long)ptx::bidx() * 256 * kWiden + ptx::tid();
  auto wide = [](u32 w, int upper) { return T::of_bytes(ptx::bytes_apart(w, upper)); };
#pragma unroll
  for (int j = 0; j < kWiden; j++) {
    long long i = first + j * 256, r = i / each;
    if (i < n) {
      V4 v = ptx::load(q + r * ld + (i - r * each) * 16);
      V4 *out = (V4 *)(to + i * 16);
      out[0] = {wide(v.x, 0), wide(v.x, 1), wide(v.y, 0), wide(v.y, 1)};
      out[1] = {wide(v.z, 0), wide(v.z, 1), wide(v.w, 0), wide(v.w, 1)};
    }
  }
  float *end = (float *)(to + (long long)rows * ldt);
  for (int r = ptx::bidx() * 256 + ptx::tid(); r < rows; r += ptx::gridx() * 256)
    end[r] = scales[r];
}

#define INT8(T, name)                                                                                                      \
  KERNEL(256, 1, round_i8_##name, Byte *q, int ld, float *scales, const u16 *w, int ldw, int rows, int D) {                \
    round_i8<T>(q, ld, scales, w, ldw, rows, D);                                                                           \
  }                                                                                                                        \
  KERNEL(256, 1, widen_i8_##name, u16 *to, int ldt, const Byte *q, int ld, const float *scales, int rows) {                \
    widen_i8<T>(to, ldt, q, ld, scales, rows);                                                                             \
  }
INT8(BF16, bf16)
INT8(F16, f16)
