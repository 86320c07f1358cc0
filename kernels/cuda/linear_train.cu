// The large products of training, those with a stored matrix W [out, in].
//
//   linear_train_*:    y[n] (+)= W x[n] + B u[n]
//   linear_train_dx_*: x'[n] (+)= scale[n].y (W^T y'[n] + scale[n].x drop(A^T u'[n]))
//   linear_train_dw_*: W' += y'^T x, sums over tokens
//
//   x [N, in], y' [N, out], W 16-bit, pitches a multiple of 64 with zero tails, all
//   of one type; u, u' [N, rank], B [out, rank], A [rank, in] bfloat16, likewise;
//   y, x', W' float32; scale [N] pairs, null = 1 twice; rank 0 = no adapter
//
// The adapter's few steps of K come first, in the same registers: its part of the sum costs no
// memory of its own, and dropout is a factor on it before the others are added. Adapters are
// bfloat16 whatever W is, since their float32 sources may have any size; y' is scaled per row
// where W is float16 (linear_train_operands.cu). All three read W as it lies in memory.
// Grid: (tiles of N, tiles of the other side), 128 threads; neighbouring blocks share a tile of W.
// Compute-bound: 2*N*out*in flops.
//
// Versions: (1) smaller tiles per warp; (2) tiles of 64x64 per warp (128x128 per block); (3) now:
// copies are issued between the products of a step. The steps were not measured alone; training
// of llama-2-7b pruned by 40 % reaches 88 TFLOP/s on an H100 (docs/performance/training.md).
#include "dropout.cuh"
#include "gemm_train.cuh"

template <class T, class S>
static __device__ __forceinline__ void linear_train(S, float *y, int ldy, const u16 *x, int ldx, const u16 *w, int ld,
                                                    int n, int out, int in, const u16 *u, const u16 *b, int ldu,
                                                    int rank, int add, int m0, int n0) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  Accumulator<S> sum;
  if (rank > 0)
    accumulate_unpipelined(sum, KMajor{u, ldu, n}, KMajor{b, ldu, out}, rank, m0, n0);
  accumulate<T>(sum, KMajor{x, ldx, n}, KMajor{w, ld, out}, in, m0, n0);
  store(sum, m0, n0, n, out, add, [&](int i) { return y + (long long)i * ldy; }, [](int) { return 1.0f; });
}

#define LINEAR_TRAIN(T, name, Size, size, blocks, rows, cols)                                                      \
  extern "C" __global__ void __launch_bounds__(128, blocks)                                                        \
      linear_train_##size##_##name(float *y, int ldy, const u16 *x, int ldx, const u16 *w, int ld, int n, int out, \
                                   int in, const u16 *u, const u16 *b, int ldu, int rank, int add) {               \
    linear_train<T>(Size{}, y, ldy, x, ldx, w, ld, n, out, in, u, b, ldu, rank, add, blockIdx.x * rows,            \
                    blockIdx.y * cols);                                                                            \
  }
LINEAR_TRAIN(BF16, bf16, TrainTile128x128, 128x128, 2, 128, 128)
LINEAR_TRAIN(F16, f16, TrainTile128x128, 128x128, 2, 128, 128)
LINEAR_TRAIN(BF16, bf16, TrainTile128x64, 128x64, 3, 128, 64)
LINEAR_TRAIN(F16, f16, TrainTile128x64, 128x64, 3, 128, 64)
LINEAR_TRAIN(BF16, bf16, TrainTile64x64, 64x64, 4, 64, 64)
LINEAR_TRAIN(F16, f16, TrainTile64x64, 64x64, 4, 64, 64)

template <class T, class S>
static __device__ __forceinline__ void linear_train_dx(S, float *dx, int lddx, const u16 *dy, int lddy, const u16 *w,
                                                       int ld, int n, int out, int in, const float2 *scale,
                                                       const u16 *u, int ldu, const u16 *a, int lda, int rank,
                                                       DropoutMask mask, float keep, int add, int m0, int n0) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  Accumulator<S> sum;
  if (rank > 0) {
    accumulate_unpipelined(sum, KMajor{u, ldu, n}, MNMajor{a, lda}, rank, m0, n0);
    int last = -1;
    const u32 *row = nullptr;
    float s = 1;
    each(sum, m0, n0, [&](int i, int j, float &a, float &b) {
      if (i >= n)
        return;
      if (i != last) {
        last = i;
        s = keep * (scale ? scale[i].x : 1);
        if (mask.bits)
          row = mask.row(i);
      }
      a *= s, b *= s;
      if (mask.bits)
        mask.two(row[j / 32], j, a, b);
    });
  }
  accumulate<T>(sum, KMajor{dy, lddy, n}, MNMajor{w, ld}, out, m0, n0);
  store(sum, m0, n0, n, in, add, [&](int i) { return dx + (long long)i * lddx; },
        [&](int i) { return scale ? scale[i].y : 1.0f; });
}

#define LINEAR_TRAIN_DX(T, name, Size, size, blocks, rows, cols)                                                       \
  extern "C" __global__ void __launch_bounds__(128, blocks) linear_train_dx_##size##_##name(                           \
      float *dx, int lddx, const u16 *dy, int lddy, const u16 *w, int ld, int n, int out, int in, const float2 *scale, \
      const u16 *u, int ldu, const u16 *a, int lda, int rank, const u32 *bits, int ldb, float keep, int add) {         \
    linear_train_dx<T>(Size{}, dx, lddx, dy, lddy, w, ld, n, out, in, scale, u, ldu, a, lda, rank,                     \
                       {bits, ldb}, keep, add, blockIdx.x * rows, blockIdx.y * cols);            \
  }
LINEAR_TRAIN_DX(BF16, bf16, TrainTile128x128, 128x128, 2, 128, 128)
LINEAR_TRAIN_DX(F16, f16, TrainTile128x128, 128x128, 2, 128, 128)
LINEAR_TRAIN_DX(BF16, bf16, TrainTile128x64, 128x64, 3, 128, 64)
LINEAR_TRAIN_DX(F16, f16, TrainTile128x64, 128x64, 3, 128, 64)
LINEAR_TRAIN_DX(BF16, bf16, TrainTile64x64, 64x64, 4, 64, 64)
LINEAR_TRAIN_DX(F16, f16, TrainTile64x64, 64x64, 4, 64, 64)

template <class S>
static __device__ __forceinline__ void linear_train_dw(S, float *dw, int lddw, const u16 *dy, int lddy, const u16 *x,
                                                       int ldx, int n, int out, int in, int m0, int n0) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  Accumulator<S> sum;
  accumulate<BF16>(sum, MNMajor{dy, lddy}, MNMajor{x, ldx}, n, m0, n0);
  store(sum, m0, n0, out, in, true, [&](int i) { return dw + (long long)i * lddw; }, [](int) { return 1.0f; });
}

#define LINEAR_TRAIN_DW(Size, size, blocks, rows, cols)                                                  \
  extern "C" __global__ void __launch_bounds__(128, blocks) linear_train_dw_##size(                      \
      float *dw, int lddw, const u16 *dy, int lddy, const u16 *x, int ldx, int n, int out, int in) {     \
    linear_train_dw(Size{}, dw, lddw, dy, lddy, x, ldx, n, out, in, blockIdx.x *rows, blockIdx.y *cols); \
  }
LINEAR_TRAIN_DW(TrainTile128x128, 128x128, 2, 128, 128)
LINEAR_TRAIN_DW(TrainTile128x64, 128x64, 3, 128, 64)
LINEAR_TRAIN_DW(TrainTile64x64, 64x64, 4, 64, 64)
