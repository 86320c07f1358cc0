// a[n,h] = softmax(q[n,h] . keys / sqrt(Dh)) values, over the positions 0..pos of
// row n's sequence; head h reads KV head h/(H/K).
//
//   q, a [N, H*Dh] 16-bit; cache pages of 64 positions (types.cuh)
//   partial [N, H, splits, Dp+2] f32; counters [N * gridy], zero before and after
//
// Grid: (splits, K * ceil(H/K / 8), N), 128 threads: a block takes one page of
// one KV head for up to eight of its query heads, so that a page is read once.
// The block that ends last joins the pages, in their order. Bound by reading the
// cache: 4*K*Dh*T bytes a row.
//
// Scores are a product with the keys as A side (stream.cuh), one warp for 16
// positions; values are summed in float32.
#include "types.cuh"

constexpr int kGroup = 8; // query heads a block takes

DEVICE int attend_groups(int H, int K) { return ceil_div(H / K, kGroup); }

template <class T>
DEVICE void attend_decode(u16 *a, int lda, const u16 *q, int ldq, Cache cache, const Place *places, int H, int Dh, float scale,
                          float *partial, u32 *counters) {
  ptx::after_previous();
  ptx::release();
  const int tid = ptx::tid(), warp = tid / 32, g = tid % 32 / 4, t = tid % 4;
  const int K = cache.K, Dp = cache.Dp, group = H / K, groups = attend_groups(H, K);
  const int n = ptx::bidz(), kh = ptx::bidy() / groups, in = ptx::bidy() % groups * kGroup;
  const int h0 = kh * group + in, heads = min(kGroup, group - in);
  const Place here = places[n];
  const int splits = here.pos / kPage + 1, first = ptx::bidx() * kPage;
  if (ptx::bidx() >= splits)
    return;
  const int count = min(kPage, here.pos + 1 - first);

  const int pitch = (Dp + 63 & ~63) + 32, chunks = Dp / 8, teams = 128 / chunks;
  u16 *qs = (u16 *)ptx::shared();               // [8, pitch]
  float *score = (float *)(qs + kGroup * pitch); // [8, 64]
  float *top = score + kGroup * kPage;          // [8] and [8]: largest score, sum
  float *total = top + kGroup;
  u32 *last = (u32 *)(total + kGroup);
  float *sums = (float *)(last + 4); // [teams, heads, Dp]

  for (int i = tid; i < kGroup * pitch; i += 128) {
    int j = i / pitch, d = i % pitch;
    qs[i] = j < heads && d < Dh ? q[(long long)n * ldq + (h0 + j) * Dh + d] : 0;
  }
  ptx::sync();

  const u16 *keys = cache.key({here.seq, first}, kh), *values = keys + cache.values();
  const int step = K * Dp;
  const V4 zero = {0, 0, 0, 0};
  {
    const int pa = warp * 16 + g, pb = pa + 8;
    const u16 *ka = keys + pa * step + 8 * t, *kb = keys + pb * step + 8 * t;
    float c[4] = {0, 0, 0, 0};
    for (int k0 = 0; k0 < Dp; k0 += 128) { // eight loads under way
      V4 x[4], y[4];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int k = k0 + 32 * i;
        bool inside = k + 8 * t < Dp;
        x[i] = inside && pa < count ? ptx::load(ka + k) : zero;
        y[i] = inside && pb < count ? ptx::load(kb + k) : zero;
      }
#pragma unroll
      for (int i = 0; i < 4; i++)
        if (k0 + 32 * i < Dp) {
          V4 z = *(const V4 *)(qs + g * pitch + k0 + 32 * i + 8 * t);
          T::mma(c, x[i].x, y[i].x, x[i].y, y[i].y, z.x, z.y);
          T::mma(c, x[i].z, y[i].z, x[i].w, y[i].w, z.z, z.w);
        }
    }
    score[2 * t * kPage + pa] = c[0], score[(2 * t + 1) * kPage + pa] = c[1];
    score[2 * t * kPage + pb] = c[2], score[(2 * t + 1) * kPage + pb] = c[3];
  }
  ptx::sync();

  for (int j = warp; j < heads; j += 4) {
    int lane = tid % 32;
    float *s = score + j * kPage;
    float x = lane < count ? s[lane] * scale : -kInf, y = lane + 32 < count ? s[lane + 32] * scale : -kInf;
    float m = warp_max(max(x, y));
    x = ptx::exp2(x - m), y = ptx::exp2(y - m);
    float l = warp_sum(x + y);
    s[lane] = x, s[lane + 32] = y;
    if (lane == 0)
      top[j] = m, total[j] = l;
  }
  ptx::sync();

  const int chunk = tid % chunks, team = tid / chunks;
  if (team < teams) {
    float sum[kGroup][8] = {};
    const u16 *v = values + chunk * 8;
    for (int p0 = team; p0 < count; p0 += 4 * teams) { // four loads under way
      V4 x[4];
#pragma unroll
      for (int i = 0; i < 4; i++)
        x[i] = p0 + i * teams < count ? ptx::load(v + (p0 + i * teams) * step) : zero;
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int p = min(p0 + i * teams, kPage - 1); // past the count the scores are zero
        float f[8];
        widen8<T>(f, x[i]);
#pragma unroll
        for (int j = 0; j < kGroup; j++)
          if (j < heads) {
            float e = score[j * kPage + p];
#pragma unroll
            for (int d = 0; d < 8; d++)
              sum[j][d] += e * f[d];
          }
      }
    }
#pragma unroll
    for (int j = 0; j < kGroup; j++)
      if (j < heads)
#pragma unroll
        for (int i = 0; i < 8; i++)
          sums[(team * heads + j) * Dp + chunk * 8 + i] = sum[j][i];
  }
  ptx::sync();

  float *mine = partial + ((long long)n * H + h0) * ptx::gridx() * (Dp + 2); // of head h0
  for (int i = tid; i < heads * Dp; i += 128) {
    int j = i / Dp, d = i % Dp;
    float o = 0;
    for (int w = 0; w < teams; w++)
      o += sums[(w * heads + j) * Dp + d];
    if (splits > 1)
      mine[((long long)j * ptx::gridx() + ptx::bidx()) * (Dp + 2) + d] = o;
    else if (d < Dh)
      a[(long long)n * lda + (h0 + j) * Dh + d] = narrow<T>(o / total[j]);
  }
  if (splits == 1)
    return;
  if (tid < heads) {
    float *ml = mine + ((long long)tid * ptx::gridx() + ptx::bidx()) * (Dp + 2) + Dp;
    ml[0] = top[tid], ml[1] = total[tid];
  }
  ptx::fence();
  ptx::sync();
  if (tid == 0) {
    u32 *counter = counters + n * ptx::gridy() + ptx::bidy();
    *last = ptx::add(counter, 1) == (u32)(splits - 1);
    if (*last)
      *counter = 0;
  }
  ptx::sync();
  if (!*last)
    return;
  ptx::fence();
  for (int i = tid; i < heads * Dh; i += 128) {
    int j = i / Dh, d = i % Dh;
    const float *part = mine + (long long)j * ptx::gridx() * (Dp + 2);
    float m = -kInf;
    for (int s = 0; s < splits; s++)
      m = max(m, part[s * (Dp + 2) + Dp]);
    float o = 0, l = 0;
    for (int s = 0; s < splits; s++) {
      const float *p = part + s * (Dp + 2);
      float e = ptx::exp2(p[Dp] - m);
      o += e * p[d], l += e * p[Dp + 1];
    }
    a[(long long)n * lda + (h0 + j) * Dh + d] = narrow<T>(o / l);
  }
}

#define ATTEND_DECODE(T, name)                                                                                             \
  KERNEL(128, 4, attend_decode_##name, u16 *a, int lda, const u16 *q, int ldq, const u64 *table,   \
         int pages, const Place *places, int H, int K, int Dh, float scale, float *partial, u32 *counters) {               \
    attend_decode<T>(a, lda, q, ldq, {table, pages, K, Dh + 7 & ~7}, places, H, Dh, scale, partial, counters); \
  }
ATTEND_DECODE(BF16, bf16)
ATTEND_DECODE(F16, f16)
