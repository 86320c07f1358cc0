// The sums of the AMP criterion (arXiv 2504.21174), added in a fixed order.
//
//   head_sums_*:     partial[h, tile] = sum over a tile of | Wo[:, h] a[n, h] |
//     a [N, H*Dh] 16-bit, Wo [D, H*Dh] 16-bit. [N, H, D] never exists in memory: a block
//     computes a 128x128 tile of one head's product and keeps its absolute sum.
//     Grid: (tiles of D, tiles of N, H), 256 threads. 2*N*D*H*Dh flops: compute-bound.
//     Dh is a multiple of 8.
//   head_sums_any_*: the same for any Dh, without tensor cores; one block per head.
//   reduce_head_sums: sums[h] = sum of the head's partial sums, float64.
//   column_sums_*:   sums[j] = sum_n | m[n, j] |, float64; one thread per column.
//     Memory-bound: 2 bytes per element.
//
// Versions: one; not measured alone.
#include "gemm.cuh"

struct AbsoluteSumEpilogue {
  using Row = int;
  struct Source {};
  float *sum; // this thread's
  int out;
  __device__ __forceinline__ int row(int n) const { return n; }
  __device__ __forceinline__ Source source(int, int) const { return {}; }
  __device__ __forceinline__ void operator()(int, int pair, float a, float b, Source) const {
    *sum += __builtin_fabsf(a) + (2 * pair + 1 < out ? __builtin_fabsf(b) : 0);
  }
};

#define HEAD_SUMS(T, name)                                                                                            \
  extern "C" __global__ void __launch_bounds__(256, 2)                                                                \
      head_sums_##name(float *partial, const u16 *a, int lda, const u16 *wo, int ld, int D, int Dh, int n) {          \
    cudaGridDependencySynchronize();                                                                                  \
    cudaTriggerProgrammaticLaunchCompletion();                                                                        \
    int h = blockIdx.z;                                                                                               \
    float sum = 0;                                                                                                    \
    gemm<T, u16>(Tile128x128{}, HalfMatrix{a + h * Dh, lda}, HalfMatrix{wo + h * Dh, ld}, n, D, Dh, blockIdx.y * 128, \
                 blockIdx.x * 128, AbsoluteSumEpilogue{&sum, D});                                                     \
    __syncthreads();                                                                                                  \
    sum = block_sum<8>(sum, (float *)smem);                                                                           \
    if (threadIdx.x == 0)                                                                                             \
      partial[(h * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x] = sum;                                           \
  }
HEAD_SUMS(BF16, bf16)
HEAD_SUMS(F16, f16)

#define HEAD_SUMS_ANY(T, name)                                                                                   \
  extern "C" __global__ void __launch_bounds__(256, 1)                                                           \
      head_sums_any_##name(float *partial, const u16 *a, int lda, const u16 *wo, int ld, int D, int Dh, int n) { \
    cudaGridDependencySynchronize();                                                                             \
    cudaTriggerProgrammaticLaunchCompletion();                                                                   \
    int h = blockIdx.x;                                                                                          \
    float sum = 0;                                                                                               \
    for (int d = threadIdx.x; d < D; d += 256)                                                                   \
      for (int i = 0; i < n; i++) {                                                                              \
        float v = 0;                                                                                             \
        for (int k = 0; k < Dh; k++)                                                                             \
          v += T::widen(wo[(long long)d * ld + h * Dh + k]) * T::widen(a[(long long)i * lda + h * Dh + k]);      \
        sum += __builtin_fabsf(v);                                                                               \
      }                                                                                                          \
    sum = block_sum<8>(sum, (float *)smem);                                                                      \
    if (threadIdx.x == 0)                                                                                        \
      partial[h] = sum;                                                                                          \
  }
HEAD_SUMS_ANY(BF16, bf16)
HEAD_SUMS_ANY(F16, f16)

extern "C" __global__ void __launch_bounds__(256, 1) reduce_head_sums(double *sums, const float *partial, int each) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const float *from = partial + (long long)blockIdx.x * each;
  double sum = 0;
  for (int i = threadIdx.x; i < each; i += 256)
    sum += from[i];
  sum = block_sum<8>(sum, (double *)smem);
  if (threadIdx.x == 0)
    sums[blockIdx.x] = sum;
}

#define COLUMN_SUMS(T, name)                                                  \
  extern "C" __global__ void __launch_bounds__(128, 1)                        \
      column_sums_##name(double *sums, const u16 *m, int ldm, int I, int n) { \
    cudaGridDependencySynchronize();                                          \
    cudaTriggerProgrammaticLaunchCompletion();                                \
    int j = blockIdx.x * 128 + threadIdx.x;                                   \
    if (j >= I)                                                               \
      return;                                                                 \
    double sum = 0;                                                           \
    for (int i = 0; i < n; i++)                                               \
      sum += __builtin_fabsf(T::widen(m[(long long)i * ldm + j]));            \
    sums[j] = sum;                                                            \
  }
COLUMN_SUMS(BF16, bf16)
COLUMN_SUMS(F16, f16)
