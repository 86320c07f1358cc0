// a[n,h] = softmax(q[n,h] . k / sqrt(Dh)) v, causal within the row's span, and
// stats[n,h] = log sum exp of the row's scores; head h reads KV head h/(H/K).
//   q, a [N, H*Dh], k, v [N, K*Dh], stats [N, H], all f32
//
// attend_keep_64, _128: Grid (tiles of 64 rows, H), 128 threads; a warp holds 16
// queries. Tiles of 64 keys, running softmax, tf32 products. Bound by arithmetic:
// 2*T*T*Dh flops a head. attend_keep_any: heads of any width, Grid (N, H), a block a
// row; slow.
#include "attend_train.cuh"

template <int Width>
DEVICE void attend_keep(float *a, int lda, float *stats, int lds, const float *q, int ldq, const float *k, const float *v, int ldk,
                        const SpanTile *tiles, int H, int K, int Dh, float scale) {
  ptx::after_previous();
  ptx::release();
  constexpr int P = kTilePitch<Width>;
  const SpanTile my = tiles[ptx::bidx()];
  const int h = ptx::bidy(), kc = h / (H / K) * Dh, end = my.first + my.length;
  const int lane = ptx::tid() % 32, warp = ptx::tid() / 32, g = lane / 4, t = lane % 4;
  u32 *qs = (u32 *)ptx::shared(), *ks = qs + kSpanTile * P, *vs = ks + kSpanTile * P; // [64, P] each
  fill_tile<Width, kSpanTile>(qs, q, ldq, my.first + my.at, end, h * Dh, Dh);
  const int row0 = my.at + warp * 16 + g, row1 = row0 + 8; // positions
  float o[Width / 8][4] = {}, m0 = -kInf, m1 = -kInf, l0 = 0, l1 = 0;
  for (int at = 0; at < min(my.at + kSpanTile, my.length); at += kSpanTile) {
    ptx::sync();
    fill_tile<Width, kSpanTile>(ks, k, ldk, my.first + at, end, kc, Dh);
    fill_tile<Width, kSpanTile>(vs, v, ldk, my.first + at, end, kc, Dh);
    ptx::sync();
    float s[kSpanTile / 8][4] = {};
    along<Width>(s, qs + warp * 16 * P, ks, Dh);
    float n0 = m0, n1 = m1;
#pragma unroll
    for (int j = 0; j < kSpanTile / 8; j++) {
#pragma unroll
      for (int i = 0; i < 2; i++) {
        int p = at + 8 * j + 2 * t + i;
        s[j][i] = p <= row0 ? s[j][i] * scale : -kInf;
        s[j][i + 2] = p <= row1 ? s[j][i + 2] * scale : -kInf;
        n0 = max(n0, s[j][i]), n1 = max(n1, s[j][i + 2]);
      }
    }
    n0 = max(n0, ptx::shfl_xor(n0, 1)), n0 = max(n0, ptx::shfl_xor(n0, 2));
    n1 = max(n1, ptx::shfl_xor(n1, 1)), n1 = max(n1, ptx::shfl_xor(n1, 2));
    // Position 0 is in the first tile and seen by all: the maxima are finite.
    float r0 = ptx::exp2(m0 - n0), r1 = ptx::exp2(m1 - n1);
    m0 = n0, m1 = n1, l0 *= r0, l1 *= r1;
#pragma unroll
    for (int j = 0; j < Width / 8; j++)
      o[j][0] *= r0, o[j][1] *= r0, o[j][2] *= r1, o[j][3] *= r1;
#pragma unroll
    for (int j = 0; j < kSpanTile / 8; j++) {
      s[j][0] = ptx::exp2(s[j][0] - m0), s[j][1] = ptx::exp2(s[j][1] - m0);
      s[j][2] = ptx::exp2(s[j][2] - m1), s[j][3] = ptx::exp2(s[j][3] - m1);
      l0 += s[j][0] + s[j][1], l1 += s[j][2] + s[j][3];
    }
    down<Width>(o, s, vs, Dh);
  }
  l0 += ptx::shfl_xor(l0, 1), l0 += ptx::shfl_xor(l0, 2);
  l1 += ptx::shfl_xor(l1, 1), l1 += ptx::shfl_xor(l1, 2);
  put_rows<Width>(o, a, lda, my.first + my.at + warp * 16, end, h * Dh, Dh,
                  [&](F2, float x, float y, int half) { return half ? F2{x / l1, y / l1} : F2{x / l0, y / l0}; });
  if (t == 0) {
    if (row0 < my.length)
      stats[(long long)(my.first + row0) * lds + h] = (m0 + ptx::log2(l0)) / kLog2e;
    if (row1 < my.length)
      stats[(long long)(my.first + row1) * lds + h] = (m1 + ptx::log2(l1)) / kLog2e;
  }
}

#define ATTEND_KEEP(width)                                                                                                 \
  KERNEL(128, 2, attend_keep_##width, float *a, int lda, float *stats, int lds, const float *q, int ldq, const float *k,   \
         const float *v, int ldk, const SpanTile *tiles, int H, int K, int Dh, float scale) {                              \
    attend_keep<width>(a, lda, stats, lds, q, ldq, k, v, ldk, tiles, H, K, Dh, scale);                                     \
  }
ATTEND_KEEP(64)
ATTEND_KEEP(128)

DEVICE float block_max(float v, float *scratch) {
  v = warp_max(v);
  if (ptx::tid() % 32 == 0)
    scratch[ptx::tid() / 32] = v;
  ptx::sync();
  v = max(max(scratch[0], scratch[1]), max(scratch[2], scratch[3]));
  ptx::sync();
  return v;
}

KERNEL(128, 1, attend_keep_any, float *a, int lda, float *stats, int lds, const float *q, int ldq, const float *k, const float *v, int ldk,
       const int *places, int H, int K, int Dh, float scale) {
  ptx::after_previous();
  ptx::release();
  const int n = ptx::bidx(), h = ptx::bidy(), kc = h / (H / K) * Dh, tid = ptx::tid(), pos = places[2 * n];
  if (pos < 0)
    return;
  float *p = (float *)ptx::shared(), *scratch = p + 128;
  const float *mine = q + (long long)n * ldq + h * Dh;
  float o[kAnyColumns] = {}, m = -kInf, l = 0;
  for (int at = 0; at <= pos; at += 128) {
    const int count = min(128, pos + 1 - at);
    const long long first = (long long)(n - pos + at) * ldk + kc;
    float s = tid < count ? head_dot(mine, k + first + (long long)tid * ldk, Dh) * scale : -kInf;
    float top = max(m, block_max(s, scratch)), r = ptx::exp2(m - top), e = ptx::exp2(s - top);
    m = top, l = l * r + block_sum<4>(e, scratch);
    p[tid] = e;
    ptx::sync();
#pragma unroll
    for (int i = 0; i < kAnyColumns; i++)
      if (int c = tid + 128 * i; c < Dh) {
        o[i] *= r;
        for (int j = 0; j < count; j++)
          o[i] += p[j] * v[first + (long long)j * ldk + c];
      }
    ptx::sync();
  }
#pragma unroll
  for (int i = 0; i < kAnyColumns; i++)
    if (int c = tid + 128 * i; c < Dh)
      a[(long long)n * lda + h * Dh + c] = o[i] / l;
  if (tid == 0)
    stats[(long long)n * lds + h] = (m + ptx::log2(l)) / kLog2e;
}
