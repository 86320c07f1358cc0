// The products of a vision tower and its projector.
//
//   linear_bias_half_prefill_*:  y[n] = f(W x[n] + b), rounded to 16 bits
//   linear_bias_float_prefill_*: y[n] (+)= f(W x[n] + b), float32
//
//   W [out, in], x [N, in] 16-bit, pitches a multiple of 64 with zero tails; b [out] of the same
//   type; f: see activation.cuh. Sums, bias and f are float32.
//
// Compute-bound: 2*N*out*in flops. Grid: tiles of out by tiles of N, see gemm.cuh; persistent blocks
// on sm_90a, see gemm_wgmma.cuh. A patch embedding is the product of linear.cu, over patches that
// the host arranges as rows.
//
// Versions: one; not measured.
#include "activation.cuh"
#include "linear_wgmma.cuh"

template <class T> static __device__ __forceinline__ float2 bias_pair(const u16 *bias, int pair) {
  const u32 b = *(const u32 *)(bias + 2 * pair);
  return {T::widen((u16)b), T::widen((u16)(b >> 16))};
}

template <class T> struct HalfBiasEpilogue {
  using Row = u16 *;
  using Source = float2; // the biases
  u16 *y;
  int ldy, out;
  const u16 *bias;
  int f;
  __device__ __forceinline__ u16 *row(int n) const { return y + (long long)n * ldy; }
  __device__ __forceinline__ float2 source(u16 *, int pair) const { return bias_pair<T>(bias, pair); }
  __device__ __forceinline__ void operator()(u16 *row, int pair, float a, float b, float2 bias) const {
    float z[2] = {a + bias.x, b + bias.y};
    activate(z, f);
    if (2 * pair + 1 == out)
      row[2 * pair] = narrow<T>(z[0]);
    else
      *(u32 *)(row + 2 * pair) = T::pack(z[0], z[1]);
  }
};

template <class T> struct FloatBiasEpilogue {
  using Row = float *;
  using Source = float4; // the biases, and what is added to
  float *y;
  int ldy, out;
  const u16 *bias;
  int f, add;
  __device__ __forceinline__ float *row(int n) const { return y + (long long)n * ldy; }
  __device__ __forceinline__ float4 source(float *row, int pair) const {
    const float2 b = bias_pair<T>(bias, pair), old = add ? *(const float2 *)(row + 2 * pair) : float2{-0.0f, -0.0f};
    return {b.x, b.y, old.x, old.y};
  }
  __device__ __forceinline__ void operator()(float *row, int pair, float a, float b, float4 s) const {
    float z[2] = {a + s.x, b + s.y};
    activate(z, f);
    float *to = row + 2 * pair;
    if (2 * pair + 1 == out)
      to[0] = s.z + z[0];
    else
      *(float2 *)to = {s.z + z[0], s.w + z[1]};
  }
};

#if !defined(HOPPER) || defined(CUEMU)
#define LINEAR_BIAS(T, name, Size, size, threads, blocks, rows, cols)                                           \
  extern "C" __global__ void __launch_bounds__(threads, blocks) linear_bias_half_prefill_##size##_##name(       \
      u16 *y, int ldy, const u16 *x, int ldx, const u16 *w, int ld, const u16 *bias, int out, int in, int n,    \
      int f) {                                                                                                  \
    cudaGridDependencySynchronize();                                                                            \
    cudaTriggerProgrammaticLaunchCompletion();                                                                  \
    gemm<T, u16>(Size{}, HalfMatrix{x, ldx}, HalfMatrix{w, ld}, n, out, in + 7 & ~7, blockIdx.y * rows,         \
                 blockIdx.x * cols, HalfBiasEpilogue<T>{y, ldy, out, bias, f});                                 \
  }                                                                                                             \
  extern "C" __global__ void __launch_bounds__(threads, blocks) linear_bias_float_prefill_##size##_##name(      \
      float *y, int ldy, const u16 *x, int ldx, const u16 *w, int ld, const u16 *bias, int out, int in, int n,  \
      int f, int add) {                                                                                         \
    cudaGridDependencySynchronize();                                                                            \
    cudaTriggerProgrammaticLaunchCompletion();                                                                  \
    gemm<T, u16>(Size{}, HalfMatrix{x, ldx}, HalfMatrix{w, ld}, n, out, in + 7 & ~7, blockIdx.y * rows,         \
                 blockIdx.x * cols, FloatBiasEpilogue<T>{y, ldy, out, bias, f, add});                           \
  }
#define LINEAR_BIAS_TILE(Size, size, threads, blocks, rows, cols)     \
  LINEAR_BIAS(BF16, bf16, Size, size, threads, blocks, rows, cols)    \
  LINEAR_BIAS(F16, f16, Size, size, threads, blocks, rows, cols)
LINEAR_BIAS_TILE(Tile128x128, 128x128, 256, 2, 128, 128)
LINEAR_BIAS_TILE(Tile64x64, 64x64, 128, 2, 64, 64)
LINEAR_BIAS_TILE(Tile64x32, 64x32, 128, 2, 64, 32)
LINEAR_BIAS_TILE(Tile16x32, 16x32, 64, 3, 16, 32)
#endif

#ifdef HOPPER
// Rows r and r+8 of the 16 of a warp's results: a thread has one pair of them.
template <class T> struct HalfBiasWgmmaEpilogue {
  template <class, int Tokens> using Writer = SharedMemoryWriter<T, Tokens, HalfBiasWgmmaEpilogue>;
  __device__ __forceinline__ void prefetch(int, int, int, int) const {} // nothing is added to
  static constexpr int kParts = 2;
  u16 *y;
  int ldy, out;
  const u16 *bias;
  int f;
  struct Token {
    u64 row;
  };
  struct Eight {
    float bias[2]; // of the lane's pair
    u64 offset;    // bytes
    int count;
    bool whole;
  };
  struct Source {};
  __device__ __forceinline__ Token token(int n) const { return {(u64)(y + (long long)n * ldy)}; }
  __device__ __forceinline__ Eight eight(int i, int part) const {
    const int row = 16 * i + threadIdx.x % 32 / 4, first = 16 * i + 8 * part, count = max(0, min(8, out - first));
    return {{T::widen(bias[min(row, out - 1)]), T::widen(bias[min(row + 8, out - 1)])},
            (u64)first * 2,
            count,
            count == 8};
  }
  __device__ __forceinline__ bool reads(const Eight &) const { return false; }
  __device__ __forceinline__ Source source(const Eight &, const Token &) const { return {}; }
  template <int N>
  __device__ __forceinline__ void apply(const Eight &e, float (&a)[N], float (&b)[N], const Source (&)[N]) const {
#pragma unroll
    for (int i = 0; i < N; i++)
      a[i] += e.bias[0], b[i] += e.bias[1];
    activate(a, f);
    activate(b, f);
  }
  __device__ __forceinline__ u64 to(const Eight &e, const Token &t) const { return t.row + e.offset; }
};

// FloatBiasWriter is LinearWriter behind the bias and the activation.
template <class T, int Tokens, class Out> struct FloatBiasWriter {
  LinearWriter<Tokens, Out> to;
  float bias[2]; // of row, of row+8
  int f;

  static __device__ __forceinline__ FloatBiasWriter make(const Out &out, u8 *shared, int m0, int M, int eight) {
    const int row = 16 * (eight + threadIdx.x / 32 % 4) + threadIdx.x % 32 / 4;
    return {LinearWriter<Tokens, Out>::make(out, shared, m0, M, eight),
            {T::widen(out.bias[min(row, out.out - 1)]), T::widen(out.bias[min(row + 8, out.out - 1)])},
            out.f};
  }
  __device__ __forceinline__ void start() { to.start(); }
  __device__ __forceinline__ void put(const float (&c)[Tokens / 2]) {
    using L = LinearWriter<Tokens, Out>;
#pragma unroll
    for (int round = 0; round < L::kRounds; round++) {
      if (round + 1 < L::kRounds)
        to.read(round + 1);
      float z[4 * L::kColumns]; // as the sums lie: two tokens of row, two of row+8
#pragma unroll
      for (int i = 0; i < 4 * L::kColumns; i++)
        z[i] = c[4 * L::kColumns * round + i] + bias[i % 4 / 2];
      activate(z, f);
      to.write(round, z);
    }
  }
};

struct FloatBiasWgmmaEpilogue {
  template <class T, int Tokens> using Writer = FloatBiasWriter<T, Tokens, FloatBiasWgmmaEpilogue>;
  float *y;
  int ldy, out, add;
  const u16 *bias;
  int f;
  __device__ __forceinline__ void prefetch(int m, int M, int r, int rows) const { prefetch_residual(*this, m, M, r, rows); }
};

#define LINEAR_BIAS_WGMMA(T, name, size, tokens, threads, blocks, groups, stages, cluster)                          \
  extern "C" __global__ void __launch_bounds__(threads, blocks) linear_bias_half_prefill_wgmma##size##_##name(      \
      TensorMap w, TensorMap x, u16 *y, int ldy, const u16 *bias, int out, int in, int n, int f) {                  \
    LinearTma of = {TENSOR_MAP_PARAM(linear_bias_half_prefill_wgmma##size##_##name, 0, w)};                         \
    gemm_wgmma<T>(WgmmaTile<tokens, groups, stages, cluster>{},                                                     \
                  TENSOR_MAP_PARAM(linear_bias_half_prefill_wgmma##size##_##name, 1, x), of, n, ceil_div(out, 64),  \
                  in, HalfBiasWgmmaEpilogue<T>{y, ldy, out, bias, f});                                              \
  }                                                                                                                 \
  extern "C" __global__ void __launch_bounds__(threads, blocks) linear_bias_float_prefill_wgmma##size##_##name(     \
      TensorMap w, TensorMap x, float *y, int ldy, const u16 *bias, int out, int in, int n, int f, int add) {       \
    LinearTma of = {TENSOR_MAP_PARAM(linear_bias_float_prefill_wgmma##size##_##name, 0, w)};                        \
    gemm_wgmma<T>(WgmmaTile<tokens, groups, stages, cluster>{},                                                     \
                  TENSOR_MAP_PARAM(linear_bias_float_prefill_wgmma##size##_##name, 1, x), of, n, ceil_div(out, 64), \
                  in, FloatBiasWgmmaEpilogue{y, ldy, out, add, bias, f});                                           \
  }
EACH_WGMMA_TILE(LINEAR_BIAS_WGMMA)
#endif
