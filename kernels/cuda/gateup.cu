// h = norm(x); m = silu(Wg h) * (Wu h), silu(z) = z / (1 + exp(-z)).
//
//   x [N, D] f32; Wg, Wu [I, D] 16-bit, pitch ld; m [N, I] 16-bit
//
// Rows come in pairs: neuron j's gate and up. gateup_decode_*: N <= 8, bound by
// reading the weights, 4*I*ld bytes; of 8 bits in *_i8_*, their scales after their rows.
// gateup_decode_ring_* (sm_90a): a block an SM, see ring.cuh.
// gateup_prefill_*: any N, takes h 16-bit; gateup_prefill_wgmma* (sm_90a): blocks that
// stay, see wgmma.cuh.
#include "ring.cuh"
#include "wgmma.cuh"

// up is kept as a distance: a choice between two pointers would live in memory.
template <class E> struct GateUpRows {
  const E *gate;
  u64 up; // bytes from gate
  int ld, I;
  MEMBER const E *row(int r) const { return (const E *)((u64)gate + r % 2 * up) + (long long)(r / 2) * ld; }
  MEMBER float scale(int r) const { return ((const float *)((const E *)((u64)gate + r % 2 * up) + (long long)I * ld))[r / 2]; }
};
template <class E> DEVICE GateUpRows<E> gateup_rows(const E *gate, const E *up, int ld, int I) {
  return {gate, (u64)up - (u64)gate, ld, I};
}

DEVICE float gated(float gate, float up) { return gate * ptx::reciprocal(1 + ptx::exp2(-gate * kLog2e)) * up; }

template <class T> struct GateUpOut {
  using Row = u16 *;
  struct Before {};
  u16 *m;
  int ldm;
  MEMBER u16 *row(int n) const { return m + (long long)n * ldm; }
  MEMBER Before before(u16 *, int) const { return {}; }
  MEMBER void operator()(u16 *row, int j, float gate, float up, Before) const { row[j] = narrow<T>(gated(gate, up)); }
};

#define GATEUP_PARAMETERS(E) const float *x, int ldx, int D, const u16 *gain, float eps, const E *gate, const E *up, int ld, int I, u16 *m, int ldm, int n
#define GATEUP_DECODE(T, name, E)                                                                                          \
  KERNEL(256, 2, gateup_decode_##name, GATEUP_PARAMETERS(E)) {                                                             \
    GateUpRows<E> rows = gateup_rows(gate, up, ld, I);                                                                     \
    Norm<T, E> norm = {x, ldx, D, gain, eps};                                                                              \
    int r0, r1;                                                                                                            \
    stream_share(I, r0, r1);                                                                                               \
    stream_warm<E>(rows, r0, r1, ld);                                                                                      \
    norm.ask();                                                                                                            \
    ptx::after_previous();                                                                                                 \
    ptx::release();                                                                                                        \
    norm.template stage<All>(n, ld);                                                                                       \
    stream<T, E>(rows, r0, r1, ld, n, scaled(rows, sizeof(E) == 1, GateUpOut<T>{m, ldm}));                                 \
  }
#ifdef STREAM
GATEUP_DECODE(BF16, bf16, u16)
GATEUP_DECODE(F16, f16, u16)
GATEUP_DECODE(BF16, i8_bf16, Byte)
GATEUP_DECODE(F16, i8_f16, Byte)
#endif

#ifdef HOPPER
#define GATEUP_RING(T, name, E)                                                                                            \
  KERNEL(kRingThreads, 2, gateup_decode_ring_##name, GATEUP_PARAMETERS(E), int stages) {                                   \
    GateUpRows<E> rows = gateup_rows(gate, up, ld, I);                                                                     \
    ring_decode<T, E>(rows, I, ld, n, stages, Normed<T, E>{{x, ldx, D, gain, eps}}, scaled(rows, sizeof(E) == 1, GateUpOut<T>{m, ldm})); \
  }
GATEUP_RING(BF16, bf16, u16)
GATEUP_RING(F16, f16, u16)
GATEUP_RING(BF16, i8_bf16, Byte)
GATEUP_RING(F16, i8_f16, Byte)
#endif

#define GATEUP_PREFILL(T, E, name, Size, size, threads, blocks, rows, cols)                                                \
  KERNEL(threads, blocks, gateup_prefill_##size##_##name, const u16 *h, int ldh, int D, const E *gate, const E *up,        \
         int ld, int I, u16 *m, int ldm, int n) {                                                                          \
    ptx::after_previous();                                                                                                 \
    ptx::release();                                                                                                        \
    GateUpRows<E> of = gateup_rows(gate, up, ld, I);                                                                       \
    product<T, E>(Size{}, Half{h, ldh}, of, n, 2 * I, D + 7 & ~7, ptx::bidy() * rows, ptx::bidx() * cols,                  \
                  scaled(of, sizeof(E) == 1, GateUpOut<T>{m, ldm}));                                                       \
  }
EACH_TILE(GATEUP_PREFILL)

#ifdef HOPPER
// 64 rows are eight neurons' gates, their ups, and so on.
struct GateUpBoxes {
  const TensorMap *gate, *up; // [I, D], boxes of 8 rows
  using Block = int;          // its first neuron
  MEMBER Block block(int i) const { return 32 * i; }
  MEMBER void load(u16 *to, int k, Block first, u64 *b) const {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      ptx::load_box(to + 2 * i * 8 * kDepth, gate, k, first + 8 * i, 0, b);
      ptx::load_box(to + (2 * i + 1) * 8 * kDepth, up, k, first + 8 * i, 0, b);
    }
  }
};

struct GateUpGathered {
  template <class T, int Tokens> using Writer = Gathered<T, Tokens, GateUpGathered>;
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
  struct Before {};
  MEMBER Token token(int n) const { return {(u64)(m + (long long)n * ldm)}; }
  MEMBER Eight eight(int i, int) const {
    int count = max(0, min(8, I - 8 * i));
    return {(u64)i * 16, count, count == 8};
  }
  MEMBER bool reads(const Eight &) const { return false; }
  MEMBER Before before(const Eight &, const Token &) const { return {}; }
  template <int N> MEMBER void apply(const Eight &, float (&gate)[N], float (&up)[N], const Before (&)[N]) const {
#pragma unroll
    for (int i = 0; i < N; i++)
      gate[i] = gated(gate[i], up[i]);
  }
  MEMBER u64 to(const Eight &e, const Token &t) const { return t.row + e.offset; }
};

#define GATEUP_WGMMA(T, name, tokens, threads, blocks, groups, stages, cluster)                                            \
  KERNEL(threads, blocks, gateup_prefill_wgmma##tokens##_##name, TensorMap gate, TensorMap up, TensorMap h, int D, int I,  \
         u16 *m, int ldm, int n) {                                                                                         \
    GateUpBoxes of = {MAP(gateup_prefill_wgmma##tokens##_##name, 0, gate), MAP(gateup_prefill_wgmma##tokens##_##name, 1, up)};    \
    wgmma_product<T>(Warpgroups<tokens, groups, stages, cluster>{}, MAP(gateup_prefill_wgmma##tokens##_##name, 2, h), of, n, \
                     ceil_div(I, 32), D, GateUpGathered{m, ldm, I});                                                       \
  }
EACH_WARPGROUPS(GATEUP_WGMMA)
#endif
