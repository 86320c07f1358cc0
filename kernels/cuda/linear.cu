// Output projections and the head: y[n] (+)= W x[n], float32 sums.
//
//   W [out, in] 16-bit, pitch ld (a multiple of 64, zero tails); y [N, out] f32
//   8-bit (*_i8_*): pitch a multiple of 128, scales [out] f32
//
// linear_decode_*: N <= 8, bound by reading W: 2*out*ld bytes. Grid: up to two
// blocks an SM, each an equal share of the rows. x is 16-bit [N, in] (kind 0) or
// float32 that is rounded on the way in (kind 1).
// linear_prefill_*: any N, 2*N*out*in flops. Grid: tiles of out by tiles of N. x
// is 16-bit.
#include "stream.cuh"
#include "tiles.cuh"

// The rows of one matrix as they are; a last row without a pair repeats.
template <class E> struct LinearRows {
  const E *w;
  int ld, out;
  const float *scales; // [out], of weights of 8 bits
  MEMBER const E *row(int r) const { return w + (long long)min(r, out - 1) * ld; }
  MEMBER float scale(int r) const { return scales[min(r, out - 1)]; }
};

struct LinearOut {
  float *y;
  int ldy, out, add;
  MEMBER void operator()(int n, int pair, float a, float b) const {
    float *to = y + (long long)n * ldy + 2 * pair; // ldy is a multiple of 32
    if (2 * pair + 1 == out) {
      to[0] = add ? to[0] + a : a;
      return;
    }
    F2 v = {a, b};
    if (add) {
      F2 old = *(const F2 *)to;
      v.x += old.x, v.y += old.y;
    }
    *(F2 *)to = v;
  }
};

template <class T, class E>
DEVICE void linear_decode(float *y, int ldy, const void *x, int ldx, int kind, const E *w, int ld, int out, int in, int n, int add,
                          const float *scales) {
  LinearRows<E> rows = {w, ld, out, scales};
  int r0, r1;
  stream_share(ceil_div(out, 2), r0, r1);
  stream_warm<E>(rows, r0, r1, ld);
  ptx::after_previous();
  ptx::release();
  if (kind == 0)
    stage_half<E>((const u16 *)x, ldx, n, ld);
  else
    stage_float<T, E>((const float *)x, ldx, n, in, ld);
  stream<T, E>(rows, r0, r1, ld, n, scaled(rows, sizeof(E) == 1, LinearOut{y, ldy, out, add}));
}

#define LINEAR_DECODE(T, name, E)                                                                                          \
  KERNEL(256, 2, linear_decode_##name, float *y, int ldy, const void *x, int ldx, int kind, const E *w, int ld, int out,   \
         int in, int n, int add, const float *scales) {                                                                    \
    linear_decode<T, E>(y, ldy, x, ldx, kind, w, ld, out, in, n, add, scales);                                             \
  }
LINEAR_DECODE(BF16, bf16, u16)
LINEAR_DECODE(F16, f16, u16)
LINEAR_DECODE(BF16, i8_bf16, Byte)
LINEAR_DECODE(F16, i8_f16, Byte)

#define LINEAR_PREFILL(T, E, name, Size, size, threads, blocks, rows, cols)                                                \
  KERNEL(threads, blocks, linear_prefill_##size##_##name, float *y, int ldy, const u16 *x, int ldx, const E *w, int ld,    \
         int out, int in, int n, int add, const float *scales) {                                                           \
    ptx::after_previous();                                                                                                 \
    ptx::release();                                                                                                        \
    LinearRows<E> of = {w, ld, out, scales};                                                                               \
    product<T, E>(Size{}, Half{x, ldx}, of, n, out, in + 7 & ~7, ptx::bidy() * rows, ptx::bidx() * cols,                   \
                  scaled(of, sizeof(E) == 1, LinearOut{y, ldy, out, add}));                                                \
  }
EACH_TILE(LINEAR_PREFILL)
