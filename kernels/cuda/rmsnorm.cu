// y[i] = x[r] / sqrt(mean(x[r]^2) + eps) * gain, where r = rows[i], or i if rows is null.
//
//   x [N, D] f32; gain [D] 16-bit. rmsnorm_half_*: y 16-bit, the input of a product;
//   rmsnorm_float_*: y f32. Tails up to the pitch are zero, of x and gain too.
//   cast_*: y[i] = x[i] rounded to 16 bits, zeros up to the pitch
//
// Grid: one block of 256 threads per row. Memory-bound: 6 or 8 bytes and 4 flops per element.
//
// Versions: (1) one number per access; (2) now: four numbers per access, read once. The effect
// was not measured alone. In decode the norm is part of the product's kernel (gemv.cuh).
#include "types.cuh"

template <class T, bool Half>
static __device__ __forceinline__ void rmsnorm(void *y, int ldy, const float *x, int ldx, const int *rows,
                                               const u16 *gain, float eps, int D) {
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  int i = blockIdx.x, r = rows ? rows[i] : i;
  const float4 *from = (const float4 *)(x + (long long)r * ldx); // zeros in its tail
  float sum = 0;
  for (int c = threadIdx.x; 4 * c < D; c += 256) {
    float4 v = ptx::ld_global_f4(from + c);
    sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  }
  sum = block_sum<8>(sum, (float *)smem);
  float s = 1 / ptx::sqrt(sum / D + eps);
  const float4 zero = {0, 0, 0, 0};
  for (int c = threadIdx.x; 4 * c < ldy; c += 256) {
    float4 v = 4 * c < D ? ptx::ld_global_f4(from + c) : zero;
    uint2 g = 4 * c < D ? *(const uint2 *)(gain + 4 * c) : uint2{0, 0};
    v = {v.x * s * T::widen((u16)g.x), v.y * s * T::widen((u16)(g.x >> 16)), v.z * s * T::widen((u16)g.y),
         v.w * s * T::widen((u16)(g.y >> 16))};
    if (Half)
      *(uint2 *)((u16 *)y + (long long)i * ldy + 4 * c) = {T::pack(v.x, v.y), T::pack(v.z, v.w)};
    else
      *(float4 *)((float *)y + (long long)i * ldy + 4 * c) = v;
  }
}

#define RMSNORM(T, name, Half, half)                                                                   \
  extern "C" __global__ void __launch_bounds__(256, 1) rmsnorm_##half##_##name(                        \
      void *y, int ldy, const float *x, int ldx, const int *rows, const u16 *gain, float eps, int D) { \
    rmsnorm<T, Half>(y, ldy, x, ldx, rows, gain, eps, D);                                              \
  }
RMSNORM(BF16, bf16, true, half)
RMSNORM(F16, f16, true, half)
RMSNORM(BF16, bf16, false, float)
RMSNORM(F16, f16, false, float)

// cast_*: y[i] = x[i], rounded, zeros up to its pitch.
#define CAST(T, name)                                                                                                 \
  extern "C" __global__ void __launch_bounds__(256, 1) cast_##name(u16 *y, int ldy, const float *x, int ldx, int D) { \
    cudaGridDependencySynchronize();                                                                                  \
    cudaTriggerProgrammaticLaunchCompletion();                                                                        \
    const float4 *from = (const float4 *)(x + (long long)blockIdx.x * ldx), zero = {0, 0, 0, 0};                      \
    uint2 *to = (uint2 *)(y + (long long)blockIdx.x * ldy);                                                           \
    for (int c = threadIdx.x; 4 * c < ldy; c += 256) {                                                                \
      float4 v = 4 * c < D ? ptx::ld_global_f4(from + c) : zero;                                                      \
      to[c] = {T::pack(v.x, v.y), T::pack(v.z, v.w)};                                                                 \
    }                                                                                                                 \
  }
CAST(BF16, bf16)
CAST(F16, f16)
