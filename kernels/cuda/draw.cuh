// What choosing an id takes: penalties, random numbers, logits in an order.
#pragma once
#include "best.cuh"

DEVICE u64 mix(u64 z) {
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

// Draw is how the ids of a launch are chosen; see device.Draw. Of a penalty the ids
// seen are bits of seen, words [lds] a row; null = none.
struct Draw {
  float temperature, penalty;
  u32 *seen; // [N, lds]
  int lds;
  const u64 *streams; // [N]

  // penalised is logit z of id i in row n.
  MEMBER float penalised(int n, int i, float z) const {
    if (seen && seen[(long long)n * lds + i / 32] >> i % 32 & 1)
      z = z > 0 ? z / penalty : z * penalty;
    return z + 0.0f; // no negative zero: it would come after zero
  }
  MEMBER void saw(int n, int i) const {
    if (seen && i >= 0)
      seen[(long long)n * lds + i / 32] |= 1u << i % 32;
  }
};

// gumbel is -log(e), e exponential of word j of a stream (random.Exponential): the
// largest of x + gumbel is a draw from softmax(x). The largest come of small e,
// where 1 - u keeps few digits of u: there log(1 - u) is a series.
DEVICE float gumbel(u64 key, u64 j) {
  float u = ((float)(u32)(mix(key + (j + 1) * 0x9e3779b97f4a7c15ull) >> 32) + 0.5f) * 2.3283064e-10f;
  float e = u < 0.0625f ? u * (1 + u * (0.5f + u * (0.33333334f + u * (0.25f + u * 0.2f))))
                        : -0.6931471806f * ptx::log2(1 - min(u, 0.99999994f));
  return -0.6931471806f * ptx::log2(e);
}

// ordered maps a float that is not NaN to an integer of the same order; plain is its
// inverse.
DEVICE u32 ordered(float z) {
  u32 b = __builtin_bit_cast(u32, z);
  return b ^ (b >> 31 ? 0xffffffffu : 0x80000000u);
}
DEVICE float plain(u32 k) { return __builtin_bit_cast(float, k ^ (k >> 31 ? 0x80000000u : 0xffffffffu)); }
