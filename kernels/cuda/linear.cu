// Output and down projection, LM head: y[n] (+)= W x[n], float32 sums.
//
//   W [out, in] 16-bit, pitch ld (a multiple of 64, zero tails); y [N, out] f32
//   8-bit weights (*_i8_*): pitch a multiple of 128, scales [out] f32
//
// linear_decode_*: N <= 8. Memory-bound: 2*out*ld bytes. Grid: up to two blocks of 256 threads per
// SM, each with an equal share of the rows. x is 16-bit [N, in] (kind 0), or float32 that is
// rounded on the way in (kind 1).
// linear_decode_pipeline_* (sm_90a): one block per SM, see pipeline.cuh.
// linear_decode_batch{8,16,32,64}_* (sm_90a): N up to that, 16-bit x, see pipeline_batch.cuh.
// linear_prefill_*: any N, 16-bit x. Compute-bound for many rows: 2*N*out*in flops. Grid: tiles of
// out by tiles of N. linear_prefill_wgmma* (sm_90a): persistent blocks, see gemm_wgmma.cuh.
//
// Versions of decode on an H100, down projection of llama-2-7b with eight rows of x:
//   gemv.cuh 100 us; pipeline.cuh 40 us. Whole models: docs/performance/decode.md
// Versions of prefill on an H100, 2048 rows: mma.sync 295 to 360 TFLOP/s, wgmma 666 to 763
#include "pipeline_batch.cuh"
#include "linear_wgmma.cuh"

// The rows of one matrix as they are; a last row without a pair repeats.
template <class E> struct LinearRows {
  const E *w;
  int ld, out;
  const float *scales; // [out], of weights of 8 bits
  __device__ __forceinline__ const E *row(int r) const { return w + (long long)min(r, out - 1) * ld; }
  __device__ __forceinline__ float scale(int r) const { return scales[min(r, out - 1)]; }
};

struct LinearEpilogue {
  using Row = float *;
  using Source = float2;
  float *y;
  int ldy, out, add; // ldy is a multiple of 32
  __device__ __forceinline__ float *row(int n) const { return y + (long long)n * ldy; }
  __device__ __forceinline__ float2 source(float *row, int pair) const {
    return add ? *(const float2 *)(row + 2 * pair) : float2{0, 0};
  }
  __device__ __forceinline__ void operator()(float *row, int pair, float a, float b, float2 old) const {
    float *to = row + 2 * pair;
    if (add)
      a += old.x, b += old.y;
    if (2 * pair + 1 == out)
      to[0] = a;
    else
      *(float2 *)to = {a, b};
  }
};

#define LINEAR_OUTPUT_PARAMETERS(E) \
  float *y, int ldy, const E *w, int ld, int out, int n, int add, const float *scales
#define LINEAR_DECODE_PARAMETERS(E) const void *x, int ldx, int kind, int in, LINEAR_OUTPUT_PARAMETERS(E)

template <class T, class E> static __device__ __forceinline__ void linear_decode(LINEAR_DECODE_PARAMETERS(E)) {
  LinearRows<E> rows = {w, ld, out, scales};
  int r0, r1;
  block_rows(ceil_div(out, 2), r0, r1);
  prefetch_weights<E>(rows, r0, r1, ld);
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  if (kind == 0)
    load_x_half<E>((const u16 *)x, ldx, n, ld);
  else
    load_x_float<T, E, WholeBlock>((const float *)x, ldx, n, in, ld);
  gemv<T, E>(rows, r0, r1, ld, n, scaled(rows, sizeof(E) == 1, LinearEpilogue{y, ldy, out, add}));
}

#define LINEAR_DECODE(T, name, E)                                                                           \
  extern "C" __global__ void __launch_bounds__(256, 2) linear_decode_##name(LINEAR_DECODE_PARAMETERS(E)) { \
    linear_decode<T, E>(x, ldx, kind, in, y, ldy, w, ld, out, n, add, scales);                             \
  }
#ifdef HAS_GEMV
LINEAR_DECODE(BF16, bf16, u16)
LINEAR_DECODE(F16, f16, u16)
LINEAR_DECODE(BF16, i8_bf16, i8)
LINEAR_DECODE(F16, i8_f16, i8)
#endif

#ifdef HOPPER
// LinearX is what x is by its kind.
template <class T, class E> struct LinearInput {
  const void *x;
  int ldx, kind, in;
  __device__ __forceinline__ void prefetch() {}
  __device__ __forceinline__ void request(const Pipeline &pipe, int n, int ld) const {
    if (kind == 0)
      request_x_half<E>(pipe, (const u16 *)x, ldx, n, ld);
  }
  __device__ __forceinline__ void stage(const Pipeline &pipe, int n, int ld) const {
    if (kind == 0)
      store_x_tails<E>(pipe, ldx, n, ld);
    else
      load_x_float<T, E, ConsumerWarps>((const float *)x, ldx, n, in, ld);
  }
};

#define LINEAR_PIPELINE(T, name, E)                                                            \
  extern "C" __global__ void __launch_bounds__(kPipelineThreads, 2)                            \
      linear_decode_pipeline_##name(LINEAR_DECODE_PARAMETERS(E), int stages) {                 \
    LinearRows<E> rows = {w, ld, out, scales};                                                 \
    gemv_pipelined<T, E>(rows, ceil_div(out, 2), ld, n, stages, LinearInput<T, E>{x, ldx, kind, in}, \
                         scaled(rows, sizeof(E) == 1, LinearEpilogue{y, ldy, out, add}));      \
  }
LINEAR_PIPELINE(BF16, bf16, u16)
LINEAR_PIPELINE(F16, f16, u16)
LINEAR_PIPELINE(BF16, i8_bf16, i8)
LINEAR_PIPELINE(F16, i8_f16, i8)

#define LINEAR_BATCH(T, E, name, rows, blocks)                                                         \
  extern "C" __global__ void __launch_bounds__(kBatchThreads, blocks) linear_decode_batch##rows##_##name( \
      const u16 *x, int ldx, LINEAR_OUTPUT_PARAMETERS(E), int stages) {                                \
    LinearRows<E> of = {w, ld, out, scales};                                                           \
    gemv_batch<T, E, rows>(x, ldx, of, ceil_div(out, 2), ld, n, stages,                                \
                           scaled(of, sizeof(E) == 1, LinearEpilogue{y, ldy, out, add}));              \
  }
EACH_BATCH(LINEAR_BATCH)
#endif

#define LINEAR_PREFILL(T, E, name, Size, size, threads, blocks, rows, cols)                                         \
  extern "C" __global__ void __launch_bounds__(threads, blocks)                                                     \
      linear_prefill_##size##_##name(float *y, int ldy, const u16 *x, int ldx, const E *w, int ld, int out, int in, \
                                     int n, int add, const float *scales) {                                         \
    cudaGridDependencySynchronize();                                                                                \
    cudaTriggerProgrammaticLaunchCompletion();                                                                      \
    LinearRows<E> of = {w, ld, out, scales};                                                                        \
    gemm<T, E>(Size{}, HalfMatrix{x, ldx}, of, n, out, in + 7 & ~7, blockIdx.y * rows, blockIdx.x * cols,           \
               scaled(of, sizeof(E) == 1, LinearEpilogue{y, ldy, out, add}));                                       \
  }
EACH_TILE(LINEAR_PREFILL)

#ifdef HOPPER
struct LinearWgmmaEpilogue {
  template <class T, int Tokens> using Writer = LinearWriter<Tokens, LinearWgmmaEpilogue>;
  float *y;
  int ldy, out, add;
  __device__ __forceinline__ void prefetch(int m, int M, int r, int rows) const { prefetch_residual(*this, m, M, r, rows); }
};

#define LINEAR_WGMMA(T, name, size, tokens, threads, blocks, groups, stages, cluster)                        \
  extern "C" __global__ void __launch_bounds__(threads, blocks) linear_prefill_wgmma##size##_##name(         \
      TensorMap w, TensorMap x, float *y, int ldy, int out, int in, int n, int add) {                        \
    LinearTma of = {TENSOR_MAP_PARAM(linear_prefill_wgmma##size##_##name, 0, w)};                            \
    gemm_wgmma<T>(WgmmaTile<tokens, groups, stages, cluster>{},                                              \
                  TENSOR_MAP_PARAM(linear_prefill_wgmma##size##_##name, 1, x), of, n, ceil_div(out, 64), in, \
                  LinearWgmmaEpilogue{y, ldy, out, add});                                                    \
  }
EACH_WGMMA_TILE(LINEAR_WGMMA)
#endif
