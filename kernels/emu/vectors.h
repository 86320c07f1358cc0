// Four numbers at a time: the arithmetic of mma and wgmma on the host. Sums are in the order of
// k, a product and a sum at a time, so that their bits do not depend on the compiler's choices.
#pragma once
#include <cstdint>
#include <cstring>
#include <emmintrin.h>

// The sanitizer looks at the kernels; where it looks at the emulation itself too, that takes
// longer.
#define EMU_UNCHECKED __attribute__((no_sanitize("alignment", "shift")))

namespace emu {

typedef __m128 f32x4;
typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));

EMU_UNCHECKED inline u32x4 load4(const void *p) {
  u32x4 v;
  memcpy(&v, p, sizeof v);
  return v;
}

// bf16_bits and f16_bits widen 16-bit numbers, each in the lower half of 32 bits.
struct bf16_bits {
  EMU_UNCHECKED static f32x4 widen(u32x4 h) { return (f32x4)(h << 16); }
};
struct f16_bits {
  EMU_UNCHECKED static f32x4 widen(u32x4 h) {
    const u32x4 magnitude = (h & 0x7fff) << 13, sign = (h & 0x8000) << 16;
    const u32x4 normal = magnitude + (112u << 23); // exponents are rebased
    const u32x4 one = u32x4{} + (113u << 23);      // 2^-14, below which numbers have no leading 1
    const u32x4 subnormal = (u32x4)((f32x4)(magnitude + one) - (f32x4)one);
    const u32x4 below = (u32x4)((i32x4)magnitude < (1 << 23)), above = (u32x4)((i32x4)magnitude > (0x7bff << 13)); // above: infinity and NaN
    return (f32x4)((subnormal & below) | (normal & ~below) | (above & 0x7f800000) | sign);
  }
};

// widen_pairs widens the two numbers of each word, the lower ones and the upper ones.
template <class T> EMU_UNCHECKED inline void widen_pairs(u32x4 v, float (&lower)[4], float (&upper)[4]) {
  const f32x4 l = T::widen(v & 0xffff), u = T::widen(v >> 16);
  memcpy(lower, &l, sizeof l), memcpy(upper, &u, sizeof u);
}

// widen_row widens eight numbers.
template <class T> EMU_UNCHECKED inline void widen_row(float *to, const void *from) {
  const u32x4 v = load4(from);
  const f32x4 even = T::widen(v & 0xffff), odd = T::widen(v >> 16);
  const f32x4 first = _mm_unpacklo_ps(even, odd), second = _mm_unpackhi_ps(even, odd);
  memcpy(to, &first, sizeof first), memcpy(to + 4, &second, sizeof second);
}

// multiply8 adds a row of K numbers by a matrix of K rows and 8 columns to nothing.
template <int K> EMU_UNCHECKED inline void multiply8(f32x4 (&sum)[2], const float *a, const f32x4 (&b)[K][2]) {
  sum[0] = sum[1] = _mm_setzero_ps();
  for (int k = 0; k < K; k++)
    sum[0] += _mm_set1_ps(a[k]) * b[k][0], sum[1] += _mm_set1_ps(a[k]) * b[k][1];
}

} // namespace emu
