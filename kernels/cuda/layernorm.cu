// y[n] = (x[n] - mean(x[n])) / sqrt(mean((x[n] - mean)^2) + eps) * gain + bias
//
//   x [N, D] f32; gain, bias [D] 16-bit. layernorm_half_*: y 16-bit, the input of a product;
//   layernorm_float_*: y f32. Tails up to the pitch are zero, of x, gain and bias too.
//
// Grid: one block of 256 threads per row. Memory-bound: 6 or 8 bytes per element; the second and
// third time a row comes from L1.
//
// Versions: one; not measured.
#include "types.cuh"

// centred is v - mean; the elements past the row's end are zero.
static __device__ __forceinline__ float4 centred(float4 v, float mean, int left) {
  return {v.x - mean, left > 1 ? v.y - mean : 0, left > 2 ? v.z - mean : 0, left > 3 ? v.w - mean : 0};
}

template <class T, bool Half>
static __device__ __forceinline__ void layernorm(void *y, int ldy, const float *x, int ldx, const u16 *gain,
                                                 const u16 *bias, float eps, int D) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const float4 *from = (const float4 *)(x + (long long)blockIdx.x * ldx); // zeros in its tail
  float sum = 0;
  for (int c = threadIdx.x; 4 * c < D; c += 256) {
    float4 v = ptx::ld_global_f4(from + c);
    sum += (v.x + v.y) + (v.z + v.w);
  }
  const float mean = block_sum<8>(sum, (float *)smem) / D;
  float squares = 0;
  for (int c = threadIdx.x; 4 * c < D; c += 256) {
    float4 v = centred(ptx::ld_global_f4(from + c), mean, D - 4 * c);
    squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  }
  const float s = 1 / ptx::sqrt(block_sum<8>(squares, (float *)smem) / D + eps);
  for (int c = threadIdx.x; 4 * c < ldy; c += 256) {
    float4 v = {0, 0, 0, 0};
    if (4 * c < D) {
      v = centred(ptx::ld_global_f4(from + c), mean, D - 4 * c);
      uint2 g = *(const uint2 *)(gain + 4 * c), b = *(const uint2 *)(bias + 4 * c);
      v = {v.x * s * T::widen((u16)g.x) + T::widen((u16)b.x),
           v.y * s * T::widen((u16)(g.x >> 16)) + T::widen((u16)(b.x >> 16)),
           v.z * s * T::widen((u16)g.y) + T::widen((u16)b.y),
           v.w * s * T::widen((u16)(g.y >> 16)) + T::widen((u16)(b.y >> 16))};
    }
    if (Half)
      *(uint2 *)((u16 *)y + (long long)blockIdx.x * ldy + 4 * c) = {T::pack(v.x, v.y), T::pack(v.z, v.w)};
    else
      *(float4 *)((float *)y + (long long)blockIdx.x * ldy + 4 * c) = v;
  }
}

#define LAYERNORM(T, name, Half, half)                                                                       \
  extern "C" __global__ void __launch_bounds__(256, 1)                                                       \
      layernorm_##half##_##name(void *y, int ldy, const float *x, int ldx, const u16 *gain, const u16 *bias, \
                                float eps, int D) {                                                          \
    layernorm<T, Half>(y, ldy, x, ldx, gain, bias, eps, D);                                                  \
  }
LAYERNORM(BF16, bf16, true, half)
LAYERNORM(F16, f16, true, half)
LAYERNORM(BF16, bf16, false, float)
LAYERNORM(F16, f16, false, float)
