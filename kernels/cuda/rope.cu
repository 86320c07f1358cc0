// RoPE on every head of x, in place: the pair (i, i+Dh/2) is rotated by position * freq[i].
// sign = -1 rotates backwards, which is the gradient.
//
//   x [N, heads*Dh] f32; cos_sin [positions, Dh/2, 2] f32
//   positions [N, 2]: the row's position in its sequence (-1 = none) and the sequence's length
//
// Grid: one block of 128 threads per row. Memory-bound: 8 bytes and 3 flops per element.
// Versions: one; not measured alone.
#include "rows.cuh"

extern "C" __global__ void __launch_bounds__(128, 1)
    rope(float *x, int ldx, const float *cos_sin, const int *positions, int heads, int Dh, float sign) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const int pos = positions[2 * blockIdx.x], half = Dh / 2;
  if (pos < 0)
    return;
  float *row = x + (long long)blockIdx.x * ldx;
  const float2 *angles = (const float2 *)cos_sin + (long long)pos * half;
  for (int i = threadIdx.x; i < heads * half; i += 128) {
    float *p = row + i / half * Dh + i % half, a = p[0], b = p[half];
    float2 cs = angles[i % half];
    cs.y *= sign;
    p[0] = a * cs.x - b * cs.y;
    p[half] = b * cs.x + a * cs.y;
  }
}
