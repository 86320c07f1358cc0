// The element-wise functions behind a biased product.
#pragma once
#include "types.cuh"

// Activation has the values of Activation in runtime/device/vision.go.
enum Activation { kIdentity, kQuickGELU, kGELU, kGELUTanh };

// z / (1 + exp(-1.702 z))
static __device__ __forceinline__ float quick_gelu(float z) {
  return z * ptx::rcp(1 + ptx::exp2(z * (-1.702f * kLog2e)));
}

// z/2 (1 + erf(z / sqrt 2)). The complement of erf is a polynomial of 1/(1 + p x) times
// exp(-x^2), x = |z| / sqrt 2: Abramowitz and Stegun 7.1.26, to 1.5e-7.
static __device__ __forceinline__ float gelu(float z) {
  const float x = __builtin_fabsf(z) * 0.70710678f, t = ptx::rcp(1 + 0.3275911f * x);
  const float p =
      ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
  const float small = 0.5f * z * p * ptx::exp2(x * x * -kLog2e);
  return z < 0 ? small : z - small;
}

// z/2 (1 + tanh u) = z / (1 + exp(-2u)), u = sqrt(2/pi) (z + 0.044715 z^3)
static __device__ __forceinline__ float gelu_tanh(float z) {
  const float u = 0.7978845608f * z * (1 + 0.044715f * z * z);
  return z * ptx::rcp(1 + ptx::exp2(u * (-2 * kLog2e)));
}

// activate applies f, which is the same in all threads, to N numbers.
template <int N> static __device__ __forceinline__ void activate(float (&z)[N], int f) {
  if (f == kQuickGELU) {
#pragma unroll
    for (int i = 0; i < N; i++)
      z[i] = quick_gelu(z[i]);
  } else if (f == kGELU) {
#pragma unroll
    for (int i = 0; i < N; i++)
      z[i] = gelu(z[i]);
  } else if (f == kGELUTanh) {
#pragma unroll
    for (int i = 0; i < N; i++)
      z[i] = gelu_tanh(z[i]);
  }
}
