// 16-bit copies of float32 operands, for products of training.
//
//   scale_to_f16: y[n] = x[n] * s, rounded; scale[n] = s, 1/s. s is a power of two that
//     puts the row's largest element near 2^14. Gradients are far smaller than what
//     float16 holds; a power of two keeps every bit of those down to 2^-28 of the
//     largest, and a row's scale depends on no other row.
//   split_bf16x3: x = hi + lo of two bfloat16, stored three times: hi, lo, hi or (second)
//     hi, hi, lo, `part` elements apart. The product of one of each kind over the threefold
//     K is hi hi + lo hi + hi lo: 16 bits of a float32's 24, whatever its size. Matrices
//     that are trained themselves are multiplied so.
//
//   x [rows, cols] f32; y 16-bit of pitch ld, zeros from cols to width, and in rows past the last
//
// Grid: one block of 256 threads per row of y. Memory-bound: 6 and 10 bytes per element.
// Versions: one; not measured alone.
#include "types.cuh"

static __device__ __forceinline__ float4 four(const float *row, int c, int cols) {
  float4 v = ptx::ld_global_f4(row + c);
  return {v.x, c + 1 < cols ? v.y : 0, c + 2 < cols ? v.z : 0, c + 3 < cols ? v.w : 0};
}

extern "C" __global__ void __launch_bounds__(256, 1)
    scale_to_f16(u16 *y, int ld, float2 *scale, const float *x, int ldx, int cols) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const float *row = x + (long long)blockIdx.x * ldx;
  float top = 0;
  for (int c = 4 * threadIdx.x; c < cols; c += 4 * 256) {
    float4 v = four(row, c, cols);
    top =
        max(top, max(max(__builtin_fabsf(v.x), __builtin_fabsf(v.y)), max(__builtin_fabsf(v.z), __builtin_fabsf(v.w))));
  }
  float *tops = (float *)smem;
  top = warp_max(top);
  if (threadIdx.x % 32 == 0)
    tops[threadIdx.x / 32] = top;
  __syncthreads();
#pragma unroll
  for (int w = 0; w < 8; w++)
    top = max(top, tops[w]);
  // The exponent of s is 14 less that of top, within what a float32 has; zeros and
  // what is not finite stay as they are.
  int e = (int)(__builtin_bit_cast(u32, top) >> 23);
  e = e == 0 || e == 255 ? 127 : min(268 - e, 253);
  float s = __builtin_bit_cast(float, (u32)e << 23), back = __builtin_bit_cast(float, (u32)(254 - e) << 23);
  if (threadIdx.x == 0)
    scale[blockIdx.x] = {s, back};
  uint2 *to = (uint2 *)(y + (long long)blockIdx.x * ld);
  for (int c = 4 * threadIdx.x; c < ld; c += 4 * 256) {
    float4 v = c < cols ? four(row, c, cols) : float4{0, 0, 0, 0};
    to[c / 4] = {F16::pack(v.x * s, v.y * s), F16::pack(v.z * s, v.w * s)};
  }
}

extern "C" __global__ void __launch_bounds__(256, 1)
    split_bf16x3(u16 *y, int ld, u64 part, int width, const float *x, int ldx, int rows, int cols, int second) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const float *row = x + (long long)blockIdx.x * ldx;
  u16 *to = y + (long long)blockIdx.x * ld;
  for (int c = 4 * threadIdx.x; c < width; c += 4 * 256) {
    float4 v = blockIdx.x < rows && c < cols ? four(row, c, cols) : float4{0, 0, 0, 0};
    uint2 hi = {BF16::pack(v.x, v.y), BF16::pack(v.z, v.w)};
    auto rest = [](float f, u32 h) { // what is not finite is all in hi
      float r = f - BF16::widen((u16)h);
      return r - r == 0 ? r : 0;
    };
    uint2 lo = {BF16::pack(rest(v.x, hi.x), rest(v.y, hi.x >> 16)), BF16::pack(rest(v.z, hi.y), rest(v.w, hi.y >> 16))};
    *(uint2 *)(to + c) = hi;
    *(uint2 *)(to + part + c) = second ? hi : lo;
    *(uint2 *)(to + 2 * part + c) = second ? lo : hi;
  }
}
