// The sampling parameters of a row, and what applies them: penalties, random numbers, logits
// in an order.
#pragma once
#include "block_argmax.cuh"

static __device__ __forceinline__ u64 mix(u64 z) {
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

// SamplingParams says how the next token of a row is chosen; see device.SamplingParams.
// The host fills it in: runtime/device/cuda/decode_rows.go.
struct SamplingParams {
  float temperature;      // 0 = argmax
  float penalty;          // of seen tokens; 1 = none
  float top_p, min_p;     // 0 = all
  int top_k;              // 0 = all
  unsigned short filters; // 1 = top-k, top-p or min-p apply, or the temperature is low (sample.cu)
  unsigned short advance; // 1 = the row's position moves one on; 0 in padding rows
  u64 stream;             // of random numbers
};
static_assert(sizeof(SamplingParams) == 32, "runtime/device/cuda: samplingParams");

// greedy returns the parameters of a row without any. They are a value, not a constant in
// memory: a kernel's PTX declares nothing but shared memory.
static __device__ __forceinline__ SamplingParams greedy() { return {0, 1, 0, 0, 0, 0, 0, 0}; }

// Penalty is a row's repetition penalty: a bit for each token that its sequence has seen.
struct Penalty {
  float factor;
  u32 *seen; // [V/32]; null = no penalty

  // apply gives the logit z of token i after the penalty.
  __device__ __forceinline__ float apply(int i, float z) const {
    if (seen && seen[i / 32] >> i % 32 & 1)
      z = z > 0 ? z / factor : z * factor;
    return z + 0.0f; // no negative zero: it would come after zero
  }
  // add counts token i as seen.
  __device__ __forceinline__ void add(int i) const {
    if (seen && i >= 0)
      seen[i / 32] |= 1u << i % 32;
  }
};

// penalty_of gives the penalty of a row in a slot; seen [slots, lds].
static __device__ __forceinline__ Penalty penalty_of(const SamplingParams &by, u32 *seen, int lds, int slot) {
  return {by.penalty, by.penalty != 1 ? seen + (long long)slot * lds : nullptr};
}

// gumbel is -log(e), e exponential of word j of a stream (random.Exponential): the
// largest of x + gumbel is a draw from softmax(x). The largest come of small e,
// where 1 - u keeps few digits of u: there log(1 - u) is a series.
static __device__ __forceinline__ float gumbel(u64 key, u64 j) {
  float u = ((float)(u32)(mix(key + (j + 1) * 0x9e3779b97f4a7c15ull) >> 32) + 0.5f) * 2.3283064e-10f;
  float e = u < 0.0625f ? u * (1 + u * (0.5f + u * (0.33333334f + u * (0.25f + u * 0.2f))))
                        : -0.6931471806f * ptx::log2(1 - min(u, 0.99999994f));
  return -0.6931471806f * ptx::log2(e);
}

// gumbel_max gives what a row without filters takes the largest of: the logit v of a token
// itself, or with Gumbel noise added at a temperature. A logit that is not finite is
// infinite, larger than all; no other value is.
static __device__ __forceinline__ float gumbel_max(const SamplingParams &by, float v, u64 word) {
  if (v - v != 0)
    return kInf;
  if (by.temperature > 0)
    return max(-3e38f, min(v / by.temperature, 3e38f)) + gumbel(by.stream, word);
  return v;
}

// ordered maps a float that is not NaN to an integer of the same order; plain is its
// inverse.
static __device__ __forceinline__ u32 ordered(float z) {
  u32 b = __builtin_bit_cast(u32, z);
  return b ^ (b >> 31 ? 0xffffffffu : 0x80000000u);
}
static __device__ __forceinline__ float plain(u32 k) {
  return __builtin_bit_cast(float, k ^ (k >> 31 ? 0x80000000u : 0xffffffffu));
}
