// adamw: a step of decoupled AdamW; x = clip g, m += b1 (x - m), v = keep2 v + b2 x^2,
// p = keep p - rate m / (sqrt(v)/root + eps); the host made rate and root of the step.
// sum_squares: partial[b] = the squares' sum of block b's 16,384 elements, in
// double precision.   p, g, m, v, x flat f32; tails of rows are zero and stay so
//
// Grid: blocks of 256, four elements a thread; sum_squares 16 times four. Bound by
// memory: 28 and 4 bytes an element.
#include "rows.cuh"

KERNEL(256, 1, adamw, float *p, const float *g, float *m, float *v, u64 n, float clip, float keep, float b1, float keep2, float b2, float rate,
       float root, float eps) {
  ptx::after_previous();
  ptx::release();
  const u64 i = ((u64)ptx::bidx() * 256 + ptx::tid()) * 4;
  if (i >= n)
    return;
  F4 pv = ptx::load_floats(p + i), gv = ptx::load_floats(g + i), mv = ptx::load_floats(m + i), vv = ptx::load_floats(v + i);
  auto step = [&](float &p, float g, float &m, float &v) {
    float x = clip * g;
    m += b1 * (x - m);
    v = v * keep2 + b2 * x * x;
    p = p * keep - rate * (m / (ptx::sqrt(v) / root + eps));
  };
  step(pv.x, gv.x, mv.x, vv.x), step(pv.y, gv.y, mv.y, vv.y), step(pv.z, gv.z, mv.z, vv.z), step(pv.w, gv.w, mv.w, vv.w);
  *(F4 *)(p + i) = pv, *(F4 *)(m + i) = mv, *(F4 *)(v + i) = vv;
}

KERNEL(256, 1, sum_squares, double *partial, const float *x, u64 n) {
  ptx::after_previous();
  ptx::release();
  double sum = 0;
#pragma unroll 4
  for (int j = 0; j < 16; j++) {
    u64 i = (((u64)ptx::bidx() * 16 + j) * 256 + ptx::tid()) * 4;
    if (i < n) {
      F4 v = ptx::load_floats(x + i);
      sum += (double)v.x * v.x + (double)v.y * v.y + ((double)v.z * v.z + (double)v.w * v.w);
    }
  }
  sum = block_sum<8>(sum, (double *)ptx::shared());
  if (ptx::tid() == 0)
    partial[ptx::bidx()] = sum;
}
