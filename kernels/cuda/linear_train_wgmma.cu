// The large products of training with a matrix W [out, in] of 16 bits (linear_train.cu) by what
// compute capability 9.0 has for them (gemm_wgmma.cuh): persistent blocks, TMA tiles, wgmma.
//
//   linear_train_wgmma*:    y[n] (+)= W x[n] + B u[n]
//   linear_train_dx_wgmma*: x'[n] (+)= scale[n].y (W^T y'[n] + scale[n].x keep drop(A^T u'[n]))
//
//   x [N, in], y' [N, out], W of one 16-bit type, u, u' [N, rank], B [out, rank], A [rank, in]
//   bfloat16, as TMA tiles of 64 elements of K; y, x' f32; scale as in linear_train.cu, of float16
//   alone; rank 0 = no adapter
//
// The adapter's steps of K come first, in the same registers. x' = W^T y' reads W as it lies in
// memory: 64 rows of W with 64 columns each are an operand that lies across. Dropout is a factor
// on the adapter's sums before the others are added.
//
// Compute-bound: 2*N*out*in flops; bound of a tile: gemm_wgmma.cuh. Versions: one; not measured.
// Replaces linear_train*_128x128 on compute capability 9.0. In prefill's products mma.sync reached
// about half the rate of wgmma (docs/performance/h100.md).
#include "dropout.cuh"
#include "linear_wgmma.cuh"

#ifdef HOPPER
// TrainSteps are the steps over K: those of the adapter, then those of the matrix.
template <bool MNMajor, bool Apart> struct TrainSteps {
  static constexpr bool kMNMajor = MNMajor, kApart = Apart;
  const TensorMap *x, *u;
  int adapter, count;
  __device__ __forceinline__ TrainSteps(const TensorMap *x, const TensorMap *u, int K, int rank)
      : x(x), u(u), adapter(ceil_div(rank, kTileK)), count(adapter + ceil_div(K, kTileK)) {}
  __device__ __forceinline__ int first() const { return adapter; }
  __device__ __forceinline__ const TensorMap *map(int step) const { return step < adapter ? u : x; }
  __device__ __forceinline__ int k(int step) const { return (step < adapter ? step : step - adapter) * kTileK; }
  template <class W> __device__ __forceinline__ typename W::Matrix weights(const W &w, int step) const {
    return {step < adapter ? w.adapter : w.matrix};
  }
};

// AcrossTma is the 64 columns of a block, in rows of K.
struct AcrossTma {
  const TensorMap *map; // [K, columns], TMA tiles of a WeightCopy's rows
  template <int N> __device__ __forceinline__ void load(u16 *to, int k, int column, const WeightCopy<N> &copy) const {
    copy(to + copy.first() * kTileK, map, column, k + copy.first(), 0);
  }
};

// TrainTma is W and the adapter's matrix beside it.
template <class M> struct TrainTma {
  using Matrix = M;
  using Block = int; // its first row of W, or column
  const TensorMap *matrix, *adapter;
  __device__ __forceinline__ Block block(int i) const { return 64 * i; }
};

struct LinearTrainEpilogue {
  template <class T, int Tokens> using Writer = LinearWriter<Tokens, LinearTrainEpilogue>;
  float *y;
  int ldy, out, add;
  __device__ __forceinline__ void prefetch(int m, int M, int r, int rows) const {
    prefetch_residual(*this, m, M, r, rows);
  }
  template <int N> __device__ __forceinline__ void scale(float (&)[N], int, int, int) const {}
};

// LinearTrainDXEpilogue drops what the mask says of the adapter's sums, and scales them. Where
// Scaled is set, the rows of y' were scaled.
template <bool Scaled> struct LinearTrainDXEpilogue {
  template <class T, int Tokens> using Writer = LinearWriter<Tokens, LinearTrainDXEpilogue, Scaled>;
  float *y;
  int ldy, out, add;
  DropoutMask mask;
  float keep;
  const float2 *scales;
  __device__ __forceinline__ void prefetch(int m, int M, int r, int rows) const {
    prefetch_residual(*this, m, M, r, rows);
  }
  __device__ __forceinline__ float factor(int token) const { return scales[token].y; }
  template <int N> __device__ __forceinline__ void scale(float (&c)[N], int m0, int M, int eight) const {
    const int lane = threadIdx.x % 32, row = 16 * (eight + threadIdx.x / 32 % 4) + lane / 4, first = m0 + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < N / 4; i++)
#pragma unroll
      for (int j = 0; j < 2; j++) { // rows row and row+8 of W are bits of one word
        const int token = first + 8 * i + j;
        u32 kept = ~0u;
        float s = keep;
        if (mask.bits && token < M && row < out)
          kept = mask.row(token)[row / 32] >> row % 32;
        if (Scaled && token < M)
          s *= scales[token].x;
        c[4 * i + j] = kept & 1 ? c[4 * i + j] * s : 0;
        c[4 * i + 2 + j] = kept & 256 ? c[4 * i + 2 + j] * s : 0;
      }
  }
};

#define LINEAR_TRAIN_WGMMA(T, name, f16, size, tokens, threads, blocks, groups, stages, cluster)                   \
  extern "C" __global__ void __launch_bounds__(threads, blocks) linear_train_wgmma##size##_##name(                 \
      TensorMap w, TensorMap b, TensorMap x, TensorMap u, float *y, int ldy, int out, int in, int rank, int n,     \
      int add) {                                                                                                   \
    gemm_wgmma<T>(                                                                                                 \
        WgmmaTile<tokens, groups, stages, cluster>{},                                                              \
        TrainSteps<false, f16>(TENSOR_MAP_PARAM(linear_train_wgmma##size##_##name, 2, x),                          \
                               TENSOR_MAP_PARAM(linear_train_wgmma##size##_##name, 3, u), in, rank),               \
        TrainTma<LinearTma>{TENSOR_MAP_PARAM(linear_train_wgmma##size##_##name, 0, w),                             \
                            TENSOR_MAP_PARAM(linear_train_wgmma##size##_##name, 1, b)},                            \
        n, ceil_div(out, 64), LinearTrainEpilogue{y, ldy, out, add});                                              \
  }                                                                                                                \
  extern "C" __global__ void __launch_bounds__(threads, blocks) linear_train_dx_wgmma##size##_##name(              \
      TensorMap w, TensorMap a, TensorMap dy, TensorMap du, float *dx, int lddx, int out, int in, int rank, int n, \
      int add, const u32 *bits, int ldb, float keep, const float2 *scale) {                                        \
    gemm_wgmma<T>(                                                                                                 \
        WgmmaTile<tokens, groups, stages, cluster>{},                                                              \
        TrainSteps<true, true>(TENSOR_MAP_PARAM(linear_train_dx_wgmma##size##_##name, 2, dy),                      \
                               TENSOR_MAP_PARAM(linear_train_dx_wgmma##size##_##name, 3, du), out, rank),          \
        TrainTma<AcrossTma>{TENSOR_MAP_PARAM(linear_train_dx_wgmma##size##_##name, 0, w),                          \
                            TENSOR_MAP_PARAM(linear_train_dx_wgmma##size##_##name, 1, a)},                         \
        n, ceil_div(in, 64), LinearTrainDXEpilogue<f16>{dx, lddx, in, add, {bits, ldb}, keep, scale});             \
  }
LINEAR_TRAIN_WGMMA(BF16, bf16, false, 256, 256, 384, 1, 2, 4, 2)
LINEAR_TRAIN_WGMMA(BF16, bf16, false, 128, 128, 384, 1, 2, 6, 2)
LINEAR_TRAIN_WGMMA(BF16, bf16, false, 64, 64, 160, 2, 1, 6, 1)
LINEAR_TRAIN_WGMMA(BF16, bf16, false, 32, 32, 160, 2, 1, 8, 1)
LINEAR_TRAIN_WGMMA(BF16, bf16, false, 16, 16, 160, 2, 1, 9, 1)
LINEAR_TRAIN_WGMMA(BF16, bf16, false, 256x4, 256, 384, 1, 2, 4, 4)
LINEAR_TRAIN_WGMMA(F16, f16, true, 256, 256, 384, 1, 2, 4, 2)
LINEAR_TRAIN_WGMMA(F16, f16, true, 128, 128, 384, 1, 2, 6, 2)
LINEAR_TRAIN_WGMMA(F16, f16, true, 64, 64, 160, 2, 1, 6, 1)
LINEAR_TRAIN_WGMMA(F16, f16, true, 32, 32, 160, 2, 1, 8, 1)
LINEAR_TRAIN_WGMMA(F16, f16, true, 16, 16, 160, 2, 1, 9, 1)
LINEAR_TRAIN_WGMMA(F16, f16, true, 256x4, 256, 384, 1, 2, 4, 4)
#endif
