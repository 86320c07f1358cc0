// 8-bit weights: q[r, k] = w[r, k] / scale[r] to the nearest integer, scale[r] = max |w[r]| / 127.
//
//   w [rows, D] 16-bit, pitch ldw; q [rows, D] 8-bit, pitch ld, zeros past D, in the order of
//   interleaved_column; scales [rows] f32
//
// The bits are those of device.RoundInt8. Grid: blocks of 256 threads, one warp per row.
// Memory-bound: 3 bytes per element.
// Versions: one; not measured alone.
#include "types.cuh"

template <class T>
static __device__ __forceinline__ void quantize_i8(i8 *q, int ld, float *scales, const u16 *w, int ldw, int rows,
                                                   int D) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const int r = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (r >= rows)
    return;
  const u16 *row = w + (long long)r * ldw;
  float most = 0, bad = 0;
  for (int k = lane; k < D; k += 32) {
    float v = T::widen(row[k]);
    most = max(most, max(v, -v)), bad += v - v;
  }
  most = warp_max(most), bad = warp_sum(bad);
  const bool zero = most == 0 || bad != 0;
  const float scale = zero ? bad : max(most / 127, 1.4012985e-45f);
  const double inverse = zero ? 0 : 1 / (double)scale;
  i8 *to = q + (long long)r * ld;
  for (int k = lane; k < ld; k += 32) {
    double x = k < D && !zero ? T::widen(row[k]) * inverse : 0;
    to[interleaved_column(k)] = (i8)ptx::round_to_int(x < -127 ? -127 : x > 127 ? 127 : x);
  }
  if (lane == 0)
    scales[r] = scale;
}

#define ROUND_I8(T, name)                                                                        \
  extern "C" __global__ void __launch_bounds__(256, 1)                                           \
      quantize_i8_##name(i8 *q, int ld, float *scales, const u16 *w, int ldw, int rows, int D) { \
    quantize_i8<T>(q, ld, scales, w, ldw, rows, D);                                              \
  }
ROUND_I8(BF16, bf16)
ROUND_I8(F16, f16)
