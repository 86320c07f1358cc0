// h = norm(x); q = rope(Wq h); rope(Wk h) and Wv h go to the KV cache.
//
//   x [N, D] f32; Wq [H*Dh, D], Wk, Wv [K*Dh, D] 16-bit, pitch ld; q [N, H*Dh]
//   cos_sin [positions, Dh/2]: cosine and sine of position * frequency
//
// Rows come in pairs (i, i + Dh/2) of one head, the two that RoPE mixes.
// qkv_decode_*: N <= 8; every block computes the norm for itself. Memory-bound:
// 2*(H + 2*K)*Dh*ld bytes; 8-bit weights in *_i8_*, their scales after their rows.
// qkv_decode_pipeline_* (sm_90a): one block per SM, see pipeline.cuh.
// qkv_decode_batch{8,16,32,64}_* (sm_90a): N up to that, takes h 16-bit, see pipeline_batch.cuh.
// qkv_prefill_*: any N, takes h [N, D] 16-bit. Compute-bound for many rows: 2*N*(H + 2*K)*Dh*D flops.
// qkv_prefill_wgmma* (sm_90a): persistent blocks, see gemm_wgmma.cuh.
//
// Versions of prefill on an H100, llama-2-7b, 2048 rows:
//   one thread finds the rows of every stage by divisions      535 us
//   results stored two bytes per lane                          487 us
//   a producer per warpgroup, results stored 16 bytes per lane 306 us, norm included
//   the product of the same shape alone                        277 us
#include "pipeline_batch.cuh"
#include "gemm_wgmma.cuh"

// k and v are kept as distances: a choice between pointers would live in memory.
template <class E> struct QKVRows {
  const E *q;
  u64 k, v; // bytes from q, less the rows before
  int ld, H, K, Dh;
  __device__ __forceinline__ u64 matrix(int head) const { return (u64)q + (head >= H + K ? v : head >= H ? k : 0); }
  __device__ __forceinline__ const E *row(int r) const {
    int half = Dh / 2, pair = r / 2, head = pair / half;
    return (const E *)matrix(head) + (long long)(head * Dh + pair % half + r % 2 * half) * ld;
  }
  // The scales follow the matrix: H*Dh or K*Dh rows.
  __device__ __forceinline__ float scale(int r) const {
    int half = Dh / 2, pair = r / 2, head = pair / half, source = head >= H + K ? H + K : head >= H ? H : 0;
    const E *first = (const E *)matrix(head) + (long long)source * Dh * ld;
    return ((const float *)(first + (long long)(head >= H ? K : H) * Dh *
                                        ld))[(head - source) * Dh + pair % half + r % 2 * half];
  }
};
template <class E>
static __device__ __forceinline__ QKVRows<E> qkv_rows(const E *q, const E *k, const E *v, int ld, int H, int K,
                                                      int Dh) {
  u64 head = (u64)Dh * ld * sizeof(E);
  return {q, (u64)k - (u64)q - H * head, (u64)v - (u64)q - (H + K) * head, ld, H, K, Dh};
}

static __device__ __forceinline__ void rotate_pair(float2 cos_sin, float &a, float &b) { // cosine and sine
  float r = a * cos_sin.x - b * cos_sin.y;
  b = b * cos_sin.x + a * cos_sin.y;
  a = r;
}

template <class T> struct QKVEpilogue {
  u16 *q;
  int ldq, H, K, Dh;
  KVCache cache;
  const SeqPosition *positions;
  const float *cos_sin;
  struct Row {
    u16 *q, *keys;
    const float *cos_sin;
  };
  using Source = float2; // cosine and sine, of queries and keys
  __device__ __forceinline__ Row row(int n) const {
    SeqPosition p = positions[n];
    return {q + (long long)n * ldq, cache.key(p, 0), cos_sin + (long long)p.pos * Dh};
  }
  __device__ __forceinline__ float2 source(const Row &row, int pair) const {
    int half = Dh / 2;
    return pair / half < H + K ? *(const float2 *)(row.cos_sin + pair % half * 2) : float2{1, 0};
  }
  __device__ __forceinline__ void operator()(const Row &row, int pair, float a, float b, float2 cos_sin) const {
    int half = Dh / 2, head = pair / half;
    if (head < H + K)
      rotate_pair(cos_sin, a, b);
    u16 *to;
    if (head < H)
      to = row.q + head * Dh;
    else if (head < H + K)
      to = row.keys + (head - H) * cache.Dp;
    else
      to = row.keys + (head - H - K) * cache.Dp + cache.values();
    to += pair % half;
    to[0] = narrow<T>(a);
    to[half] = narrow<T>(b);
  }
};

#define QKV_OUTPUT_PARAMETERS                                                                       \
  int H, int K, int Dh, u16 *q, int ldq, const u64 *table, int pages, const SeqPosition *positions, \
      const float *cos_sin, int n
#define QKV_PARAMETERS(E) const E *wq, const E *wk, const E *wv, int ld, QKV_OUTPUT_PARAMETERS

#define QKV_DECODE_PARAMETERS(E) const float *x, int ldx, int D, const u16 *gain, float eps, QKV_PARAMETERS(E)
#define QKV_DECODE(T, name, E)                                                                                \
  extern "C" __global__ void __launch_bounds__(256, 2) qkv_decode_##name(QKV_DECODE_PARAMETERS(E)) {          \
    QKVRows<E> rows = qkv_rows(wq, wk, wv, ld, H, K, Dh);                                                     \
    Norm<T, E> norm = {x, ldx, D, gain, eps};                                                                 \
    int r0, r1;                                                                                               \
    block_rows((H + 2 * K) * Dh / 2, r0, r1);                                                                 \
    prefetch_weights<E>(rows, r0, r1, ld);                                                                    \
    norm.prefetch();                                                                                          \
    cudaGridDependencySynchronize();                                                                          \
    cudaTriggerProgrammaticLaunchCompletion();                                                                \
    norm.request();                                                                                           \
    norm.template stage<WholeBlock>(n, ld);                                                                   \
    gemv<T, E>(rows, r0, r1, ld, n,                                                                           \
               scaled(rows, sizeof(E) == 1,                                                                   \
                      QKVEpilogue<T>{q, ldq, H, K, Dh, {table, pages, K, Dh + 7 & ~7}, positions, cos_sin})); \
  }
#ifdef HAS_GEMV
QKV_DECODE(BF16, bf16, u16)
QKV_DECODE(F16, f16, u16)
QKV_DECODE(BF16, i8_bf16, i8)
QKV_DECODE(F16, i8_f16, i8)
#endif

#ifdef HOPPER
#define QKV_PIPELINE(T, name, E)                                                                       \
  extern "C" __global__ void __launch_bounds__(kPipelineThreads, 2)                                    \
      qkv_decode_pipeline_##name(QKV_DECODE_PARAMETERS(E), int stages) {                               \
    QKVRows<E> rows = qkv_rows(wq, wk, wv, ld, H, K, Dh);                                              \
    gemv_pipelined<T, E>(                                                                              \
        rows, (H + 2 * K) * Dh / 2, ld, n, stages, NormalizedInput<T, E>{{x, ldx, D, gain, eps}},      \
        scaled(rows, sizeof(E) == 1,                                                                   \
               QKVEpilogue<T>{q, ldq, H, K, Dh, {table, pages, K, Dh + 7 & ~7}, positions, cos_sin})); \
  }
QKV_PIPELINE(BF16, bf16, u16)
QKV_PIPELINE(F16, f16, u16)
QKV_PIPELINE(BF16, i8_bf16, i8)
QKV_PIPELINE(F16, i8_f16, i8)

#define QKV_BATCH(T, E, name, batch, blocks)                                                            \
  extern "C" __global__ void __launch_bounds__(kBatchThreads, blocks)                                   \
      qkv_decode_batch##batch##_##name(const u16 *h, int ldh, QKV_PARAMETERS(E), int stages) {          \
    QKVRows<E> rows = qkv_rows(wq, wk, wv, ld, H, K, Dh);                                               \
    gemv_batch<T, E, batch>(                                                                            \
        h, ldh, rows, (H + 2 * K) * Dh / 2, ld, n, stages,                                              \
        scaled(rows, sizeof(E) == 1,                                                                    \
               QKVEpilogue<T>{q, ldq, H, K, Dh, {table, pages, K, Dh + 7 & ~7}, positions, cos_sin}));  \
  }
EACH_BATCH(QKV_BATCH)
#endif

#define QKV_PREFILL(T, E, name, Size, size, threads, blocks, rows, cols)                                              \
  extern "C" __global__ void __launch_bounds__(threads, blocks)                                                       \
      qkv_prefill_##size##_##name(const u16 *h, int ldh, int D, QKV_PARAMETERS(E)) {                                  \
    cudaGridDependencySynchronize();                                                                                  \
    cudaTriggerProgrammaticLaunchCompletion();                                                                        \
    QKVRows<E> of = qkv_rows(wq, wk, wv, ld, H, K, Dh);                                                               \
    gemm<T, E>(Size{}, HalfMatrix{h, ldh}, of, n, (H + 2 * K) * Dh, D + 7 & ~7, blockIdx.y * rows, blockIdx.x * cols, \
               scaled(of, sizeof(E) == 1,                                                                             \
                      QKVEpilogue<T>{q, ldq, H, K, Dh, {table, pages, K, Dh + 7 & ~7}, positions, cos_sin}));         \
  }
EACH_TILE(QKV_PREFILL)

#ifdef HOPPER
// Eight pairs of a head are 16 rows: their first, their second ones. A head of Dh/2
// pairs begins with a new eight.
struct QKVTma {
  const TensorMap *q, *k, *v; // [2*heads, Dh/2, D], TMA tiles of 8 rows
  int H, K, half;
  __device__ __forceinline__ int eights() const { return ceil_div(half, 8); } // of a head
  // Block is where its four eights are: head << 16 | row, the heads of q, k and v counted on.
  struct Block {
    u32 eight[4];
  };
  __device__ __forceinline__ Block block(int i) const {
    Block b;
#pragma unroll
    for (int j = 0; j < 4; j++)
      b.eight[j] = (4 * i + j) / eights() << 16 | (4 * i + j) % eights() * 8;
    return b;
  }
  template <int N>
  __device__ __forceinline__ void load(u16 *to, int at, const Block &block, const WeightCopy<N> &copy) const {
    to += copy.first() * kTileK;
#pragma unroll
    for (int i = 0; i < 4 / N; i++) {
      const u32 eight = ptx::opaque(N > 1 && copy.share ? block.eight[i + 4 - 4 / N] : block.eight[i]);
      int head = eight >> 16, row = eight & 0xffff;
      const TensorMap *map = head < H ? q : head < H + K ? k : v;
      head -= head < H ? 0 : head < H + K ? H : H + K;
      copy(to + 2 * i * 8 * kTileK, map, at, row, 2 * head);
      copy(to + (2 * i + 1) * 8 * kTileK, map, at, row, 2 * head + 1);
    }
  }
};

struct QKVWgmmaEpilogue {
  template <class T, int Tokens> using Writer = SharedMemoryWriter<T, Tokens, QKVWgmmaEpilogue>;
  __device__ __forceinline__ void prefetch(int, int, int, int) const {} // nothing is added to
  static constexpr int kParts = 2;
  u16 *q;
  int ldq, H, K, half, eights;
  KVCache cache;
  const SeqPosition *positions;
  const float *cos_sin;
  struct Token {
    u64 rows[2]; // of q, of the cache's keys
    u32 cos_sin; // where its position's pairs of cosine and sine begin
  };
  struct Eight {
    const float2 *cos_sin; // of the first position and the lane's pair
    bool rotates;
    int cached; // the token's row
    u64 offset; // bytes from there
    int count;
    bool whole;
  };
  using Source = float2;
  __device__ __forceinline__ Token token(int n) const {
    SeqPosition p = positions[n];
    return {{(u64)(q + (long long)n * ldq), (u64)cache.key(p, 0)}, (u32)p.pos * half};
  }
  __device__ __forceinline__ Eight eight(int i, int part) const {
    int head = i / eights, first = i % eights * 8, count = head < H + 2 * K ? min(8, half - first) : 0;
    int source = head < H       ? head * 2 * half
                 : head < H + K ? (head - H) * cache.Dp
                                : (head - H - K) * cache.Dp + cache.values();
    return {(const float2 *)cos_sin + min(first + threadIdx.x % 32 / 4, half - 1),
            head < H + K,
            head >= H,
            2 * (u64)(source + first + part * half),
            count,
            half % 8 == 0 && count == 8};
  }
  __device__ __forceinline__ bool reads(const Eight &e) const { return e.rotates; }
  __device__ __forceinline__ float2 source(const Eight &e, const Token &t) const { return e.cos_sin[t.cos_sin]; }
  template <int N>
  __device__ __forceinline__ void apply(const Eight &e, float (&a)[N], float (&b)[N],
                                        const float2 (&rotates)[N]) const {
    if (e.rotates)
#pragma unroll
      for (int i = 0; i < N; i++)
        rotate_pair(rotates[i], a[i], b[i]);
  }
  __device__ __forceinline__ u64 to(const Eight &e, const Token &t) const { return t.rows[e.cached] + e.offset; }
};

#define QKV_WGMMA(T, name, size, tokens, threads, blocks, groups, stages, cluster)                                  \
  extern "C" __global__ void __launch_bounds__(threads, blocks) qkv_prefill_wgmma##size##_##name(                   \
      TensorMap wq, TensorMap wk, TensorMap wv, TensorMap h, int D, QKV_OUTPUT_PARAMETERS) {                        \
    QKVTma of = {TENSOR_MAP_PARAM(qkv_prefill_wgmma##size##_##name, 0, wq),                                         \
                 TENSOR_MAP_PARAM(qkv_prefill_wgmma##size##_##name, 1, wk),                                         \
                 TENSOR_MAP_PARAM(qkv_prefill_wgmma##size##_##name, 2, wv),                                         \
                 H,                                                                                                 \
                 K,                                                                                                 \
                 Dh / 2};                                                                                           \
    gemm_wgmma<T>(                                                                                                  \
        WgmmaTile<tokens, groups, stages, cluster>{}, TENSOR_MAP_PARAM(qkv_prefill_wgmma##size##_##name, 3, h), of, \
        n, ceil_div((H + 2 * K) * of.eights(), 4), D,                                                               \
        QKVWgmmaEpilogue{q, ldq, H, K, Dh / 2, of.eights(), {table, pages, K, Dh + 7 & ~7}, positions, cos_sin});   \
  }
EACH_WGMMA_TILE(QKV_WGMMA)
#endif
