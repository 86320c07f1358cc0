// RMSNorm of training and its gradients.
//
//   rmsnorm_forward:       y = x r w, r = 1 / sqrt(mean(x^2) + eps), one row at a time;
//                          rmsnorm_forward_half_*: y of the 16 bits that products take
//   rmsnorm_backward:      x' += r (w y' - x mean(w y' x) r^2)
//   rmsnorm_backward_gain: w' += sum_n y'[n] x[n] r[n], rows in order
//
//   x, y (but for _half_), x', y' [N, D] f32; r [N, 1] f32; w [D]; w' [D] f32
//
// Grid: one block of 256 threads per row; rmsnorm_backward_gain: one thread per column, 128 per
// block. Memory-bound: 8, 16 and 8 bytes per element.
// Versions: one; not measured alone.
#include "rows.cuh"

template <class T, class Y>
static __device__ __forceinline__ void rmsnorm_forward(void *y, int ldy, float *r, int ldr, const float *x, int ldx,
                                                       const void *gain, float eps, int D) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const float *in = x + (long long)blockIdx.x * ldx;
  float sum = 0;
  for (int k = 4 * threadIdx.x; k < D; k += 4 * 256) {
    float4 v = ptx::ld_global_f4(in + k);
    sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  }
  sum = block_sum<8>(sum, (float *)smem);
  float s = 1 / ptx::sqrt(sum / D + eps);
  if (threadIdx.x == 0)
    r[(long long)blockIdx.x * ldr] = s;
  void *out = Row<Y>::at(y, blockIdx.x, ldy);
  for (int k = 4 * threadIdx.x; k < D; k += 4 * 256) {
    float4 v = ptx::ld_global_f4(in + k), g = Row<T>::four(gain, k);
    Row<Y>::put(out, k, {v.x * s * g.x, v.y * s * g.y, v.z * s * g.z, v.w * s * g.w});
  }
}

template <class T>
static __device__ __forceinline__ void rmsnorm_backward(float *dx, int lddx, const float *dy, int lddy, const float *x,
                                                        int ldx, const float *r, int ldr, const void *gain, int D) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const float *in = x + (long long)blockIdx.x * ldx, *grad = dy + (long long)blockIdx.x * lddy;
  float sum = 0;
  for (int k = 4 * threadIdx.x; k < D; k += 4 * 256) {
    float4 v = ptx::ld_global_f4(in + k), d = ptx::ld_global_f4(grad + k), g = Row<T>::four(gain, k);
    sum += g.x * d.x * v.x + g.y * d.y * v.y + g.z * d.z * v.z + g.w * d.w * v.w;
  }
  sum = block_sum<8>(sum, (float *)smem);
  const float s = r[(long long)blockIdx.x * ldr], c = sum / D * s * s;
  float *out = dx + (long long)blockIdx.x * lddx;
  for (int k = 4 * threadIdx.x; k < D; k += 4 * 256) {
    float4 v = ptx::ld_global_f4(in + k), d = ptx::ld_global_f4(grad + k), g = Row<T>::four(gain, k),
           o = ptx::ld_global_f4(out + k);
    *(float4 *)(out + k) = {o.x + s * (g.x * d.x - v.x * c), o.y + s * (g.y * d.y - v.y * c),
                            o.z + s * (g.z * d.z - v.z * c), o.w + s * (g.w * d.w - v.w * c)};
  }
}

#define RMSNORM_FORWARD(T, Y, name)                                                                        \
  extern "C" __global__ void __launch_bounds__(256, 1) rmsnorm_forward_##name(                             \
      void *y, int ldy, float *r, int ldr, const float *x, int ldx, const void *gain, float eps, int D) {  \
    rmsnorm_forward<T, Y>(y, ldy, r, ldr, x, ldx, gain, eps, D);                                           \
  }
RMSNORM_FORWARD(BF16, F32, bf16)
RMSNORM_FORWARD(F16, F32, f16)
RMSNORM_FORWARD(F32, F32, f32)
RMSNORM_FORWARD(BF16, BF16, half_bf16)
RMSNORM_FORWARD(F16, F16, half_f16)

#define RMSNORM_BACKWARD(T, name)                                                                                      \
  extern "C" __global__ void __launch_bounds__(256, 1)                                                                 \
      rmsnorm_backward_##name(float *dx, int lddx, const float *dy, int lddy, const float *x, int ldx, const float *r, \
                              int ldr, const void *gain, int D) {                                                      \
    rmsnorm_backward<T>(dx, lddx, dy, lddy, x, ldx, r, ldr, gain, D);                                                  \
  }
RMSNORM_BACKWARD(BF16, bf16)
RMSNORM_BACKWARD(F16, f16)
RMSNORM_BACKWARD(F32, f32)

extern "C" __global__ void __launch_bounds__(128, 1)
    rmsnorm_backward_gain(float *dw, const float *dy, int lddy, const float *x, int ldx, const float *r, int ldr, int D,
                          int n) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  int j = blockIdx.x * 128 + threadIdx.x;
  if (j >= D)
    return;
  float sum = dw[j];
#pragma unroll 8
  for (int i = 0; i < n; i++)
    sum += dy[(long long)i * lddy + j] * x[(long long)i * ldx + j] * r[(long long)i * ldr];
  dw[j] = sum;
}
