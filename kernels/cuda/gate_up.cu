// h = norm(x); m = silu(Wg h) * (Wu h), silu(z) = z / (1 + exp(-z)).
//
//   x [N, D] f32; Wg, Wu [I, D] 16-bit, pitch ld; m [N, I] 16-bit
//
// Rows come in pairs: neuron j's gate and up. gate_up_decode_*: N <= 8. Memory-bound: 4*I*ld
// bytes; 8-bit weights in *_i8_*, their scales after their rows.
// gate_up_decode_pipeline_* (sm_90a): one block per SM, see pipeline.cuh.
// gate_up_decode_batch{8,16,32,64}_* (sm_90a): N up to that, takes h 16-bit, see pipeline_batch.cuh.
// gate_up_prefill_*: any N, takes h 16-bit. Compute-bound for many rows: 4*N*I*D flops.
// gate_up_prefill_wgmma* (sm_90a): persistent blocks, see gemm_wgmma.cuh: 518 us on an H100 for
// llama-2-7b and 2048 rows. Other versions: docs/performance/decode.md and prefill.md
#include "pipeline_batch.cuh"
#include "gemm_wgmma.cuh"

// up is kept as a distance: a choice between two pointers would live in memory.
template <class E> struct GateUpRows {
  const E *gate;
  u64 up; // bytes from gate
  int ld, I;
  __device__ __forceinline__ const E *row(int r) const {
    return (const E *)((u64)gate + r % 2 * up) + (long long)(r / 2) * ld;
  }
  __device__ __forceinline__ float scale(int r) const {
    return ((const float *)((const E *)((u64)gate + r % 2 * up) + (long long)I * ld))[r / 2];
  }
};
template <class E>
static __device__ __forceinline__ GateUpRows<E> gate_up_rows(const E *gate, const E *up, int ld, int I) {
  return {gate, (u64)up - (u64)gate, ld, I};
}

static __device__ __forceinline__ float gated(float gate, float up) {
  return gate * ptx::rcp(1 + ptx::exp2(-gate * kLog2e)) * up;
}

template <class T> struct GateUpEpilogue {
  using Row = u16 *;
  struct Source {};
  u16 *m;
  int ldm;
  __device__ __forceinline__ u16 *row(int n) const { return m + (long long)n * ldm; }
  __device__ __forceinline__ Source source(u16 *, int) const { return {}; }
  __device__ __forceinline__ void operator()(u16 *row, int j, float gate, float up, Source) const {
    row[j] = narrow<T>(gated(gate, up));
  }
};

#define GATE_UP_OUTPUT_PARAMETERS(E) const E *gate, const E *up, int ld, int I, u16 *m, int ldm, int n
#define GATE_UP_PARAMETERS(E) \
  const float *x, int ldx, int D, const u16 *gain, float eps, GATE_UP_OUTPUT_PARAMETERS(E)
#define GATE_UP_DECODE(T, name, E)                                                                    \
  extern "C" __global__ void __launch_bounds__(256, 2) gate_up_decode_##name(GATE_UP_PARAMETERS(E)) { \
    GateUpRows<E> rows = gate_up_rows(gate, up, ld, I);                                               \
    Norm<T, E> norm = {x, ldx, D, gain, eps};                                                         \
    int r0, r1;                                                                                       \
    block_rows(I, r0, r1);                                                                            \
    prefetch_weights<E>(rows, r0, r1, ld);                                                            \
    norm.prefetch();                                                                                  \
    cudaGridDependencySynchronize();                                                                  \
    cudaTriggerProgrammaticLaunchCompletion();                                                        \
    norm.request();                                                                                   \
    norm.template stage<WholeBlock>(n, ld);                                                           \
    gemv<T, E>(rows, r0, r1, ld, n, scaled(rows, sizeof(E) == 1, GateUpEpilogue<T>{m, ldm}));         \
  }
#ifdef HAS_GEMV
GATE_UP_DECODE(BF16, bf16, u16)
GATE_UP_DECODE(F16, f16, u16)
GATE_UP_DECODE(BF16, i8_bf16, i8)
GATE_UP_DECODE(F16, i8_f16, i8)
#endif

#ifdef HOPPER
#define GATE_UP_PIPELINE(T, name, E)                                                            \
  extern "C" __global__ void __launch_bounds__(kPipelineThreads, 2)                             \
      gate_up_decode_pipeline_##name(GATE_UP_PARAMETERS(E), int stages) {                       \
    GateUpRows<E> rows = gate_up_rows(gate, up, ld, I);                                         \
    gemv_pipelined<T, E>(rows, I, ld, n, stages, NormalizedInput<T, E>{{x, ldx, D, gain, eps}}, \
                         scaled(rows, sizeof(E) == 1, GateUpEpilogue<T>{m, ldm}));              \
  }
GATE_UP_PIPELINE(BF16, bf16, u16)
GATE_UP_PIPELINE(F16, f16, u16)
GATE_UP_PIPELINE(BF16, i8_bf16, i8)
GATE_UP_PIPELINE(F16, i8_f16, i8)

#define GATE_UP_BATCH(T, E, name, batch, blocks)                                                            \
  extern "C" __global__ void __launch_bounds__(kBatchThreads, blocks) gate_up_decode_batch##batch##_##name( \
      const u16 *h, int ldh, GATE_UP_OUTPUT_PARAMETERS(E), int stages) {                                    \
    GateUpRows<E> rows = gate_up_rows(gate, up, ld, I);                                                     \
    gemv_batch<T, E, batch>(h, ldh, rows, I, ld, n, stages,                                                 \
                            scaled(rows, sizeof(E) == 1, GateUpEpilogue<T>{m, ldm}));                       \
  }
EACH_BATCH(GATE_UP_BATCH)
#endif

#define GATE_UP_PREFILL(T, E, name, Size, size, threads, blocks, rows, cols)                               \
  extern "C" __global__ void __launch_bounds__(threads, blocks) gate_up_prefill_##size##_##name(           \
      const u16 *h, int ldh, int D, const E *gate, const E *up, int ld, int I, u16 *m, int ldm, int n) {   \
    cudaGridDependencySynchronize();                                                                       \
    cudaTriggerProgrammaticLaunchCompletion();                                                             \
    GateUpRows<E> of = gate_up_rows(gate, up, ld, I);                                                      \
    gemm<T, E>(Size{}, HalfMatrix{h, ldh}, of, n, 2 * I, D + 7 & ~7, blockIdx.y * rows, blockIdx.x * cols, \
               scaled(of, sizeof(E) == 1, GateUpEpilogue<T>{m, ldm}));                                     \
  }
EACH_TILE(GATE_UP_PREFILL)

#ifdef HOPPER
// 64 rows are eight neurons' gates, their ups, and so on.
struct GateUpTma {
  const TensorMap *gate, *up; // [I, D], TMA tiles of 8 rows
  using Block = int;          // its first neuron
  __device__ __forceinline__ Block block(int i) const { return 32 * i; }
  template <int N> __device__ __forceinline__ void load(u16 *to, int k, Block first, const WeightCopy<N> &copy) const {
    to += copy.first() * kTileK, first += copy.first() / 2;
#pragma unroll
    for (int i = 0; i < 4 / N; i++) {
      copy(to + 2 * i * 8 * kTileK, gate, k, first + 8 * i, 0);
      copy(to + (2 * i + 1) * 8 * kTileK, up, k, first + 8 * i, 0);
    }
  }
};

struct GateUpWgmmaEpilogue {
  template <class T, int Tokens> using Writer = SharedMemoryWriter<T, Tokens, GateUpWgmmaEpilogue>;
  __device__ __forceinline__ void prefetch(int, int, int, int) const {} // nothing is added to
  static constexpr int kParts = 1;
  u16 *m;
  int ldm, I;
  struct Token {
    u64 row;
  };
  struct Eight {
    u64 offset; // bytes
    int count;
    bool whole;
  };
  struct Source {};
  __device__ __forceinline__ Token token(int n) const { return {(u64)(m + (long long)n * ldm)}; }
  __device__ __forceinline__ Eight eight(int i, int) const {
    int count = max(0, min(8, I - 8 * i));
    return {(u64)i * 16, count, count == 8};
  }
  __device__ __forceinline__ bool reads(const Eight &) const { return false; }
  __device__ __forceinline__ Source source(const Eight &, const Token &) const { return {}; }
  template <int N>
  __device__ __forceinline__ void apply(const Eight &, float (&gate)[N], float (&up)[N], const Source (&)[N]) const {
#pragma unroll
    for (int i = 0; i < N; i++)
      gate[i] = gated(gate[i], up[i]);
  }
  __device__ __forceinline__ u64 to(const Eight &e, const Token &t) const { return t.row + e.offset; }
};

#define GATE_UP_WGMMA(T, name, size, tokens, threads, blocks, groups, stages, cluster)                     \
  extern "C" __global__ void __launch_bounds__(threads, blocks) gate_up_prefill_wgmma##size##_##name(      \
      TensorMap gate, TensorMap up, TensorMap h, int D, int I, u16 *m, int ldm, int n) {                   \
    GateUpTma of = {TENSOR_MAP_PARAM(gate_up_prefill_wgmma##size##_##name, 0, gate),                       \
                    TENSOR_MAP_PARAM(gate_up_prefill_wgmma##size##_##name, 1, up)};                        \
    gemm_wgmma<T>(WgmmaTile<tokens, groups, stages, cluster>{},                                            \
                  TENSOR_MAP_PARAM(gate_up_prefill_wgmma##size##_##name, 2, h), of, n, ceil_div(I, 32), D, \
                  GateUpWgmmaEpilogue{m, ldm, I});                                                         \
  }
EACH_WGMMA_TILE(GATE_UP_WGMMA)
#endif
