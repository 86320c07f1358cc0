// h = norm(x); q = rope(Wq h); rope(Wk h) and Wv h go to the cache.
//
//   x [N, D] f32; Wq [H*Dh, D], Wk, Wv [K*Dh, D] 16-bit, pitch ld; q [N, H*Dh]
//   turn [positions, Dh/2]: cosine and sine of position * frequency
//
// Rows come in pairs (i, i + Dh/2) of one head, the two that a rotation mixes.
// qkv_decode_*: N <= 8, the norm is made by every block for itself; bound by
// reading the weights. qkv_prefill_*: any N, takes h [N, D] 16-bit.
#include "stream.cuh"
#include "tiles.cuh"

// k and v are kept as distances: a choice between pointers would live in memory.
struct QKVRows {
  const u16 *q;
  u64 k, v; // bytes from q, less the rows before
  int ld, H, K, Dh;
  MEMBER const u16 *row(int r) const {
    int half = Dh / 2, pair = r / 2, head = pair / half;
    u64 from = (u64)q + (head >= H + K ? v : head >= H ? k : 0);
    return (const u16 *)from + (long long)(head * Dh + pair % half + r % 2 * half) * ld;
  }
};
DEVICE QKVRows qkv_rows(const u16 *q, const u16 *k, const u16 *v, int ld, int H, int K, int Dh) {
  u64 head = (u64)Dh * ld * 2;
  return {q, (u64)k - (u64)q - H * head, (u64)v - (u64)q - (H + K) * head, ld, H, K, Dh};
}

template <class T> struct QKVOut {
  u16 *q;
  int ldq, H, K, Dh;
  Cache cache;
  const Place *places;
  const float *turn;
  MEMBER void operator()(int n, int pair, float a, float b) const {
    int half = Dh / 2, head = pair / half, i = pair % half;
    Place w = places[n];
    if (head < H + K) {
      const float *cs = turn + ((long long)w.pos * half + i) * 2;
      float r = a * cs[0] - b * cs[1];
      b = b * cs[0] + a * cs[1];
      a = r;
    }
    u16 *to;
    if (head < H)
      to = q + (long long)n * ldq + head * Dh;
    else if (head < H + K)
      to = cache.key(w, head - H);
    else
      to = cache.key(w, head - H - K) + cache.values();
    to[i] = narrow<T>(a);
    to[i + half] = narrow<T>(b);
  }
};

#define QKV_PARAMETERS                                                                                                     \
  const u16 *wq, const u16 *wk, const u16 *wv, int ld, int H, int K, int Dh, u16 *q, int ldq, const u64 *table, int pages, \
      const Place *places, const float *turn, int n

#define QKV_DECODE(T, name)                                                                                                \
  KERNEL(256, 2, qkv_decode_##name, const float *x, int ldx, int D, const u16 *gain, float eps, QKV_PARAMETERS) {          \
    QKVRows rows = qkv_rows(wq, wk, wv, ld, H, K, Dh);                                                                             \
    int r0, r1;                                                                                                            \
    stream_share((H + 2 * K) * Dh / 2, r0, r1);                                                                            \
    stream_warm(rows, r0, r1, ld);                                                                                         \
    ptx::after_previous();                                                                                                 \
    ptx::release();                                                                                                        \
    stage_norm<T>(x, ldx, n, D, ld, gain, eps);                                                                            \
    stream<T>(rows, r0, r1, ld, n, QKVOut<T>{q, ldq, H, K, Dh, {table, pages, K, Dh + 7 & ~7}, places, turn}); \
  }
QKV_DECODE(BF16, bf16)
QKV_DECODE(F16, f16)

#define QKV_PREFILL(T, name, Size, size, threads, blocks, rows, cols)                                                              \
  KERNEL(threads, blocks, qkv_prefill_##size##_##name, const u16 *h, int ldh, int D, QKV_PARAMETERS) {                          \
    ptx::after_previous();                                                                                                 \
    ptx::release();                                                                                                        \
    product<T>(Size{}, Half{h, ldh}, qkv_rows(wq, wk, wv, ld, H, K, Dh), n, (H + 2 * K) * Dh, D + 7 & ~7,                   \
               ptx::bidy() * rows, ptx::bidx() * cols,                                                                     \
               QKVOut<T>{q, ldq, H, K, Dh, {table, pages, K, Dh + 7 & ~7}, places, turn});                   \
  }
EACH_TILE(QKV_PREFILL)
