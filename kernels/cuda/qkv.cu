// h = norm(x); q = rope(Wq h); rope(Wk h) and Wv h go to the cache.
//
//   x [N, D] f32; Wq [H*Dh, D], Wk, Wv [K*Dh, D] 16-bit, pitch ld; q [N, H*Dh]
//   turn [positions, Dh/2]: cosine and sine of position * frequency
//
// Rows come in pairs (i, i + Dh/2) of one head, the two that a rotation mixes.
// qkv_decode_*: N <= 8, the norm is made by every block for itself; bound by
// reading the weights; of 8 bits in *_i8_*, their scales after their rows.
// qkv_decode_ring_* (sm_90a): a block an SM, see ring.cuh.
// qkv_prefill_*: any N, takes h [N, D] 16-bit; qkv_prefill_wgmma* (sm_90a): blocks that
// stay, see wgmma.cuh.
#include "ring.cuh"
#include "wgmma.cuh"

// k and v are kept as distances: a choice between pointers would live in memory.
template <class E> struct QKVRows {
  const E *q;
  u64 k, v; // bytes from q, less the rows before
  int ld, H, K, Dh;
  MEMBER u64 matrix(int head) const { return (u64)q + (head >= H + K ? v : head >= H ? k : 0); }
  MEMBER const E *row(int r) const {
    int half = Dh / 2, pair = r / 2, head = pair / half;
    return (const E *)matrix(head) + (long long)(head * Dh + pair % half + r % 2 * half) * ld;
  }
  // The scales follow the matrix: H*Dh or K*Dh rows.
  MEMBER float scale(int r) const {
    int half = Dh / 2, pair = r / 2, head = pair / half, before = head >= H + K ? H + K : head >= H ? H : 0;
    const E *first = (const E *)matrix(head) + (long long)before * Dh * ld;
    return ((const float *)(first + (long long)(head >= H ? K : H) * Dh * ld))[(head - before) * Dh + pair % half + r % 2 * half];
  }
};
template <class E> DEVICE QKVRows<E> qkv_rows(const E *q, const E *k, const E *v, int ld, int H, int K, int Dh) {
  u64 head = (u64)Dh * ld * sizeof(E);
  return {q, (u64)k - (u64)q - H * head, (u64)v - (u64)q - (H + K) * head, ld, H, K, Dh};
}

DEVICE void turn_by(F2 turn, float &a, float &b) { // cosine and sine
  float r = a * turn.x - b * turn.y;
  b = b * turn.x + a * turn.y;
  a = r;
}

template <class T> struct QKVOut {
  u16 *q;
  int ldq, H, K, Dh;
  Cache cache;
  const Place *places;
  const float *turn;
  struct Row {
    u16 *q, *keys;
    const float *turn;
  };
  using Before = F2; // cosine and sine, of queries and keys
  MEMBER Row row(int n) const {
    Place p = places[n];
    return {q + (long long)n * ldq, cache.key(p, 0), turn + (long long)p.pos * Dh};
  }
  MEMBER F2 before(const Row &row, int pair) const {
    int half = Dh / 2;
    return pair / half < H + K ? *(const F2 *)(row.turn + pair % half * 2) : F2{1, 0};
  }
  MEMBER void operator()(const Row &row, int pair, float a, float b, F2 turn) const {
    int half = Dh / 2, head = pair / half;
    if (head < H + K)
      turn_by(turn, a, b);
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

#define QKV_PLACES int H, int K, int Dh, u16 *q, int ldq, const u64 *table, int pages, const Place *places, const float *turn, int n
#define QKV_PARAMETERS(E) const E *wq, const E *wk, const E *wv, int ld, QKV_PLACES

#define QKV_DECODE_PARAMETERS(E) const float *x, int ldx, int D, const u16 *gain, float eps, QKV_PARAMETERS(E)
#define QKV_DECODE(T, name, E)                                                                                             \
  KERNEL(256, 2, qkv_decode_##name, QKV_DECODE_PARAMETERS(E)) {                                                            \
    QKVRows<E> rows = qkv_rows(wq, wk, wv, ld, H, K, Dh);                                                                  \
    Norm<T, E> norm = {x, ldx, D, gain, eps};                                                                              \
    int r0, r1;                                                                                                            \
    stream_share((H + 2 * K) * Dh / 2, r0, r1);                                                                            \
    stream_warm<E>(rows, r0, r1, ld);                                                                                      \
    norm.ask();                                                                                                            \
    ptx::after_previous();                                                                                                 \
    ptx::release();                                                                                                        \
    norm.template stage<All>(n, ld);                                                                                       \
    stream<T, E>(rows, r0, r1, ld, n, scaled(rows, sizeof(E) == 1, QKVOut<T>{q, ldq, H, K, Dh, {table, pages, K, Dh + 7 & ~7}, places, turn})); \
  }
#ifdef STREAM
QKV_DECODE(BF16, bf16, u16)
QKV_DECODE(F16, f16, u16)
QKV_DECODE(BF16, i8_bf16, Byte)
QKV_DECODE(F16, i8_f16, Byte)
#endif

#ifdef HOPPER
#define QKV_RING(T, name, E)                                                                                               \
  KERNEL(kRingThreads, 2, qkv_decode_ring_##name, QKV_DECODE_PARAMETERS(E), int stages) {                                  \
    QKVRows<E> rows = qkv_rows(wq, wk, wv, ld, H, K, Dh);                                                                  \
    ring_decode<T, E>(rows, (H + 2 * K) * Dh / 2, ld, n, stages, Normed<T, E>{{x, ldx, D, gain, eps}},                     \
                      scaled(rows, sizeof(E) == 1, QKVOut<T>{q, ldq, H, K, Dh, {table, pages, K, Dh + 7 & ~7}, places, turn})); \
  }
QKV_RING(BF16, bf16, u16)
QKV_RING(F16, f16, u16)
QKV_RING(BF16, i8_bf16, Byte)
QKV_RING(F16, i8_f16, Byte)
#endif

#define QKV_PREFILL(T, E, name, Size, size, threads, blocks, rows, cols)                                                   \
  KERNEL(threads, blocks, qkv_prefill_##size##_##name, const u16 *h, int ldh, int D, QKV_PARAMETERS(E)) {                  \
    ptx::after_previous();                                                                                                 \
    ptx::release();                                                                                                        \
    QKVRows<E> of = qkv_rows(wq, wk, wv, ld, H, K, Dh);                                                                    \
    product<T, E>(Size{}, Half{h, ldh}, of, n, (H + 2 * K) * Dh, D + 7 & ~7, ptx::bidy() * rows, ptx::bidx() * cols,       \
                  scaled(of, sizeof(E) == 1, QKVOut<T>{q, ldq, H, K, Dh, {table, pages, K, Dh + 7 & ~7}, places, turn}));  \
  }
EACH_TILE(QKV_PREFILL)

#ifdef HOPPER
// Eight pairs of a head are 16 rows: their first, their second ones. A head of Dh/2
// pairs begins with a new eight.
struct QKVBoxes {
  const TensorMap *q, *k, *v; // [2*heads, Dh/2, D], boxes of 8 rows
  int H, K, half;
  MEMBER int eights() const { return ceil_div(half, 8); } // of a head
  // Block is where its four eights are: head << 16 | row, the heads of q, k and v counted on.
  struct Block {
    u32 eight[4];
  };
  MEMBER Block block(int i) const {
    Block b;
#pragma unroll
    for (int j = 0; j < 4; j++)
      b.eight[j] = (4 * i + j) / eights() << 16 | (4 * i + j) % eights() * 8;
    return b;
  }
  MEMBER void load(u16 *to, int at, const Block &block, u64 *b) const {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const u32 eight = ptx::again(block.eight[i]);
      int head = eight >> 16, row = eight & 0xffff;
      const TensorMap *map = head < H ? q : head < H + K ? k : v;
      head -= head < H ? 0 : head < H + K ? H : H + K;
      ptx::load_box(to + 2 * i * 8 * kDepth, map, at, row, 2 * head, b);
      ptx::load_box(to + (2 * i + 1) * 8 * kDepth, map, at, row, 2 * head + 1, b);
    }
  }
};

struct QKVGathered {
  template <class T, int Tokens> using Writer = Gathered<T, Tokens, QKVGathered>;
  static constexpr int kParts = 2;
  u16 *q;
  int ldq, H, K, half, eights;
  Cache cache;
  const Place *places;
  const float *turn;
  struct Token {
    u64 rows[2]; // of q, of the cache's keys
    u32 turn;    // where its position's pairs of cosine and sine begin
  };
  struct Eight {
    const F2 *turn; // of the first position and the lane's pair
    bool turns;
    int cached; // the token's row
    u64 offset; // bytes from there
    int count;
    bool whole;
  };
  using Before = F2;
  MEMBER Token token(int n) const {
    Place p = places[n];
    return {{(u64)(q + (long long)n * ldq), (u64)cache.key(p, 0)}, (u32)p.pos * half};
  }
  MEMBER Eight eight(int i, int part) const {
    int head = i / eights, first = i % eights * 8, count = head < H + 2 * K ? min(8, half - first) : 0;
    int before = head < H ? head * 2 * half : head < H + K ? (head - H) * cache.Dp : (head - H - K) * cache.Dp + cache.values();
    return {(const F2 *)turn + min(first + ptx::tid() % 32 / 4, half - 1), head < H + K, head >= H, 2 * (u64)(before + first + part * half),
            count, half % 8 == 0 && count == 8};
  }
  MEMBER bool reads(const Eight &e) const { return e.turns; }
  MEMBER F2 before(const Eight &e, const Token &t) const { return e.turn[t.turn]; }
  template <int N> MEMBER void apply(const Eight &e, float (&a)[N], float (&b)[N], const F2 (&turns)[N]) const {
    if (e.turns)
#pragma unroll
      for (int i = 0; i < N; i++)
        turn_by(turns[i], a[i], b[i]);
  }
  MEMBER u64 to(const Eight &e, const Token &t) const { return t.rows[e.cached] + e.offset; }
};

#define QKV_WGMMA(T, name, tokens, threads, blocks, groups, stages, cluster)                                               \
  KERNEL(threads, blocks, qkv_prefill_wgmma##tokens##_##name, TensorMap wq, TensorMap wk, TensorMap wv, TensorMap h, int D, \
         QKV_PLACES) {                                                                                                     \
    QKVBoxes of = {MAP(qkv_prefill_wgmma##tokens##_##name, 0, wq), MAP(qkv_prefill_wgmma##tokens##_##name, 1, wk),         \
                   MAP(qkv_prefill_wgmma##tokens##_##name, 2, wv), H, K, Dh / 2};                                          \
    wgmma_product<T>(Warpgroups<tokens, groups, stages, cluster>{}, MAP(qkv_prefill_wgmma##tokens##_##name, 3, h), of, n,  \
                     ceil_div((H + 2 * K) * of.eights(), 4), D,                                                            \
                     QKVGathered{q, ldq, H, K, Dh / 2, of.eights(), {table, pages, K, Dh + 7 & ~7}, places, turn});        \
  }
EACH_WARPGROUPS(QKV_WGMMA)
#endif
