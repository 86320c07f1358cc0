// AdamW and the squared norm of gradients.
//
//   adamw: x = clip * g; m += b1 * (x - m); v = keep2 * v + b2 * x^2;
//          p = keep * p - rate * m / (sqrt(v) / root + eps)
//          The host computes rate and root of the step.
//   sum_squares: partial[b] = sum of the squares of block b's 16,384 elements, in float64
//
//   p, g, m, v, x  flat f32; the tails of rows are zero and stay zero
//
// Grid: blocks of 256 threads, four elements per thread; sum_squares 16 times four.
// Memory-bound: adamw moves 28 bytes per element for about 15 flops, sum_squares 4 for 2.
// Versions: one; not measured alone.
#include "rows.cuh"

extern "C" __global__ void __launch_bounds__(256, 1)
    adamw(float *p, const float *g, float *m, float *v, u64 n, float clip, float keep, float b1, float keep2, float b2,
          float rate, float root, float eps) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const u64 i = ((u64)blockIdx.x * 256 + threadIdx.x) * 4;
  if (i >= n)
    return;
  float4 pv = ptx::ld_global_f4(p + i), gv = ptx::ld_global_f4(g + i), mv = ptx::ld_global_f4(m + i),
         vv = ptx::ld_global_f4(v + i);
  auto step = [&](float &p, float g, float &m, float &v) {
    float x = clip * g;
    m += b1 * (x - m);
    v = v * keep2 + b2 * x * x;
    p = p * keep - rate * (m / (ptx::sqrt(v) / root + eps));
  };
  step(pv.x, gv.x, mv.x, vv.x), step(pv.y, gv.y, mv.y, vv.y), step(pv.z, gv.z, mv.z, vv.z),
      step(pv.w, gv.w, mv.w, vv.w);
  *(float4 *)(p + i) = pv, *(float4 *)(m + i) = mv, *(float4 *)(v + i) = vv;
}

extern "C" __global__ void __launch_bounds__(256, 1) sum_squares(double *partial, const float *x, u64 n) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  double sum = 0;
#pragma unroll 4
  for (int j = 0; j < 16; j++) {
    u64 i = (((u64)blockIdx.x * 16 + j) * 256 + threadIdx.x) * 4;
    if (i < n) {
      float4 v = ptx::ld_global_f4(x + i);
      sum += (double)v.x * v.x + (double)v.y * v.y + ((double)v.z * v.z + (double)v.w * v.w);
    }
  }
  sum = block_sum<8>(sum, (double *)smem);
  if (threadIdx.x == 0)
    partial[blockIdx.x] = sum;
}
