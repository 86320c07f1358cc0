// y[to(i)] = x[from(i)]: copies, gathers and scatters of rows.
//
//   x, y [.., D] f32; to, from: lists of rows, or null for i itself
//
// Grid: one block of 256 threads per row. Memory-bound: 8*N*D bytes, no flops.
// Versions: one; not measured alone.
#include "rows.cuh"

extern "C" __global__ void __launch_bounds__(256, 1)
    copy_rows(float *y, int ldy, const int *to, const float *x, int ldx, const int *from, int D) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  int i = blockIdx.x;
  float *out = y + (long long)(to ? to[i] : i) * ldy;
  const float *in = x + (long long)(from ? from[i] : i) * ldx;
  for (int k = 4 * threadIdx.x; k < D; k += 4 * 256)
    *(float4 *)(out + k) = ptx::ld_global_f4(in + k);
}
