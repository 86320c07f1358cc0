// Output projections and the head: y[n] (+)= W x[n], float32 sums.
//
//   W [out, in] 16-bit, pitch ld (a multiple of 64, zero tails); y [N, out] f32
//   8-bit (*_i8_*): pitch a multiple of 128, scales [out] f32
//
// linear_decode_*: N <= 8, bound by reading W: 2*out*ld bytes. Grid: up to two
// blocks an SM, each an equal share of the rows. x is 16-bit [N, in] (kind 0) or
// float32 that is rounded on the way in (kind 1).
// linear_decode_ring_* (sm_90a): a block an SM, see ring.cuh.
// linear_prefill_*: any N, 2*N*out*in flops. Grid: tiles of out by tiles of N. x
// is 16-bit. linear_prefill_wgmma* (sm_90a): blocks that stay, see wgmma.cuh.
#include "ring.cuh"
#include "wgmma.cuh"

// The rows of one matrix as they are; a last row without a pair repeats.
template <class E> struct LinearRows {
  const E *w;
  int ld, out;
  const float *scales; // [out], of weights of 8 bits
  MEMBER const E *row(int r) const { return w + (long long)min(r, out - 1) * ld; }
  MEMBER float scale(int r) const { return scales[min(r, out - 1)]; }
};

struct LinearOut {
  using Row = float *;
  using Before = F2;
  float *y;
  int ldy, out, add; // ldy is a multiple of 32
  MEMBER float *row(int n) const { return y + (long long)n * ldy; }
  MEMBER F2 before(float *row, int pair) const { return add ? *(const F2 *)(row + 2 * pair) : F2{0, 0}; }
  MEMBER void operator()(float *row, int pair, float a, float b, F2 old) const {
    float *to = row + 2 * pair;
    if (add)
      a += old.x, b += old.y;
    if (2 * pair + 1 == out)
      to[0] = a;
    else
      *(F2 *)to = {a, b};
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
    stage_float<T, E, All>((const float *)x, ldx, n, in, ld);
  stream<T, E>(rows, r0, r1, ld, n, scaled(rows, sizeof(E) == 1, LinearOut{y, ldy, out, add}));
}

#define LINEAR_DECODE(T, name, E)                                                                                          \
  KERNEL(256, 2, linear_decode_##name, float *y, int ldy, const void *x, int ldx, int kind, const E *w, int ld, int out,   \
         int in, int n, int add, const float *scales) {                                                                    \
    linear_decode<T, E>(y, ldy, x, ldx, kind, w, ld, out, in, n, add, scales);                                             \
  }
#ifdef STREAM
LINEAR_DECODE(BF16, bf16, u16)
LINEAR_DECODE(F16, f16, u16)
LINEAR_DECODE(BF16, i8_bf16, Byte)
LINEAR_DECODE(F16, i8_f16, Byte)
#endif

#ifdef HOPPER
// LinearX is what x is by its kind.
template <class T, class E> struct LinearX {
  const void *x;
  int ldx, kind, in;
  MEMBER void ask() {}
  MEMBER void stage(const Ring &ring, int n, int ld) const {
    if (kind == 0)
      stage_halves<E>(ring, (const u16 *)x, ldx, n, ld);
    else
      stage_float<T, E, Multipliers>((const float *)x, ldx, n, in, ld);
  }
};

#define LINEAR_RING(T, name, E)                                                                                            \
  KERNEL(kRingThreads, 2, linear_decode_ring_##name, float *y, int ldy, const void *x, int ldx, int kind, const E *w, int ld, \
         int out, int in, int n, int add, const float *scales, int stages) {                                               \
    LinearRows<E> rows = {w, ld, out, scales};                                                                             \
    ring_decode<T, E>(rows, ceil_div(out, 2), ld, n, stages, LinearX<T, E>{x, ldx, kind, in},                              \
                      scaled(rows, sizeof(E) == 1, LinearOut{y, ldy, out, add}));                                          \
  }
LINEAR_RING(BF16, bf16, u16)
LINEAR_RING(F16, f16, u16)
LINEAR_RING(BF16, i8_bf16, Byte)
LINEAR_RING(F16, i8_f16, Byte)
#endif

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

#ifdef HOPPER
// The 64 rows of a block as they lie.
struct LinearBoxes {
  const TensorMap *map; // [out, in], boxes of 64 rows
  using Block = int;    // its first row
  MEMBER Block block(int i) const { return 64 * i; }
  MEMBER void load(u16 *to, int k, Block row, u64 *b) const { ptx::load_box(to, map, k, row, 0, b); }
};

// LinearWriter has every thread write what it has, 32 bytes a warp and token: of rows row
// and row+8 of W two neighbours of every eight tokens. What is added to them is read four
// such columns ahead.
template <int Tokens, class Out> struct LinearWriter {
  static constexpr int kColumns = Tokens / 8 < 4 ? Tokens / 8 : 4, kRounds = Tokens / 8 / kColumns;
  float *y; // of the thread's first token and row
  int ldy;
  int left, right; // tokens from that on: of row, of row+8
  int add, right_add; // those that are added to
  float old[2][4 * kColumns];

  static MEMBER LinearWriter make(const Out &out, u8 *, int m0, int M, int eight) {
    const int lane = ptx::tid() % 32, m = m0 + lane % 4 * 2, row = 16 * (eight + ptx::tid() / 32 % 4) + lane / 4;
    const int left = row < out.out ? M - m : 0, right = row + 8 < out.out ? left : 0;
    return {out.y + (long long)m * out.ldy + row, out.ldy, left, right, out.add ? left : 0, out.add ? right : 0};
  }
  MEMBER float *at(int token) const { return y + (long long)token * ldy; }
  MEMBER void read(int round) {
#pragma unroll
    for (int i = 0; i < 2 * kColumns; i++) {
      const int token = (round * kColumns + i / 2) * 8 + i % 2;
      float *o = old[round % 2] + 2 * i;
      o[0] = o[1] = -0.0f; // a sum of which keeps every bit
      if (token < add)
        o[0] = at(token)[0];
      if (token < right_add)
        o[1] = at(token)[8];
    }
  }
  MEMBER void start() { read(0); }
  MEMBER void put(const float (&c)[Tokens / 2]) {
#pragma unroll
    for (int round = 0; round < kRounds; round++) {
      if (round + 1 < kRounds)
        read(round + 1);
#pragma unroll
      for (int i = 0; i < 2 * kColumns; i++) {
        const int column = round * kColumns + i / 2, token = column * 8 + i % 2;
        const float *o = old[round % 2] + 2 * i, *sums = c + 4 * column + i % 2;
        if (token < left)
          at(token)[0] = o[0] + sums[0];
        if (token < right)
          at(token)[8] = o[1] + sums[2];
      }
    }
  }
};

struct LinearApart {
  template <class T, int Tokens> using Writer = LinearWriter<Tokens, LinearApart>;
  float *y;
  int ldy, out, add;
};

#define LINEAR_WGMMA(T, name, tokens, threads, blocks, groups, stages, cluster)                                            \
  KERNEL(threads, blocks, linear_prefill_wgmma##tokens##_##name, TensorMap w, TensorMap x, float *y, int ldy, int out,     \
         int in, int n, int add) {                                                                                         \
    LinearBoxes of = {MAP(linear_prefill_wgmma##tokens##_##name, 0, w)};                                                   \
    wgmma_product<T>(Warpgroups<tokens, groups, stages, cluster>{}, MAP(linear_prefill_wgmma##tokens##_##name, 1, x), of, n, \
                     ceil_div(out, 64), in, LinearApart{y, ldy, out, add});                                                \
  }
EACH_WARPGROUPS(LINEAR_WGMMA)
#endif
