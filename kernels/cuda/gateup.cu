// h = norm(x); m = silu(Wg h) * (Wu h), silu(z) = z / (1 + exp(-z)).
//
//   x [N, D] f32; Wg, Wu [I, D] 16-bit, pitch ld; m [N, I] 16-bit
//
// Rows come in pairs: neuron j's gate and up. gateup_decode_*: N <= 8, bound by
// reading the weights, 4*I*ld bytes. gateup_prefill_*: any N, takes h 16-bit.
#include "stream.cuh"
#include "tiles.cuh"

// up is kept as a distance: a choice between two pointers would live in memory.
struct GateUpRows {
  const u16 *gate;
  u64 up; // bytes from gate
  int ld;
  MEMBER const u16 *row(int r) const { return (const u16 *)((u64)gate + r % 2 * up) + (long long)(r / 2) * ld; }
};
DEVICE GateUpRows gateup_rows(const u16 *gate, const u16 *up, int ld) { return {gate, (u64)up - (u64)gate, ld}; }

template <class T> struct GateUpOut {
  u16 *m;
  int ldm;
  MEMBER void operator()(int n, int j, float gate, float up) const {
    m[(long long)n * ldm + j] = narrow<T>(gate / (1 + ptx::exp2(-gate * kLog2e)) * up);
  }
};

#define GATEUP_DECODE(T, name)                                                                                             \
  KERNEL(256, 2, gateup_decode_##name, const float *x, int ldx, int D, const u16 *gain, float eps, const u16 *gate,        \
         const u16 *up, int ld, int I, u16 *m, int ldm, int n) {                                                           \
    GateUpRows rows = gateup_rows(gate, up, ld);                                                                                      \
    int r0, r1;                                                                                                            \
    stream_share(I, r0, r1);                                                                                               \
    stream_warm(rows, r0, r1, ld);                                                                                         \
    ptx::after_previous();                                                                                                 \
    ptx::release();                                                                                                        \
    stage_norm<T>(x, ldx, n, D, ld, gain, eps);                                                                            \
    stream<T>(rows, r0, r1, ld, n, GateUpOut<T>{m, ldm});                                                                  \
  }
GATEUP_DECODE(BF16, bf16)
GATEUP_DECODE(F16, f16)

#define GATEUP_PREFILL(T, name, Size, size, threads, blocks, rows, cols)                                                           \
  KERNEL(threads, blocks, gateup_prefill_##size##_##name, const u16 *h, int ldh, int D, const u16 *gate, const u16 *up, int ld, \
         int I, u16 *m, int ldm, int n) {                                                                                  \
    ptx::after_previous();                                                                                                 \
    ptx::release();                                                                                                        \
    product<T>(Size{}, Half{h, ldh}, gateup_rows(gate, up, ld), n, 2 * I, D + 7 & ~7, ptx::bidy() * rows,                   \
               ptx::bidx() * cols, GateUpOut<T>{m, ldm});                                                                  \
  }
EACH_TILE(GATEUP_PREFILL)
