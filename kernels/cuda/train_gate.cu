// gate_keep: m = silu(g) * u, silu(z) = z s(z), s(z) = 1/(1+exp(-z)).
// gate_back: u' = m' silu(g), g' = m' u s(g) (1 + g (1 - s(g))); g' may be m'.
//   all [N, I] f32
//
// Grid: a block of 256 a row. Bound by memory: 12 and 20 bytes an element.
#include "rows.cuh"

DEVICE float sigmoid(float z) { return 1 / (1 + ptx::exp2(-z * kLog2e)); }

KERNEL(256, 1, gate_keep, float *m, int ldm, const float *g, int ldg, const float *u, int ldu, int I) {
  ptx::after_previous();
  ptx::release();
  const long long row = ptx::bidx();
  for (int k = 4 * ptx::tid(); k < I; k += 4 * 256) {
    F4 z = ptx::load_floats(g + row * ldg + k), v = ptx::load_floats(u + row * ldu + k);
    *(F4 *)(m + row * ldm + k) = {z.x * sigmoid(z.x) * v.x, z.y * sigmoid(z.y) * v.y, z.z * sigmoid(z.z) * v.z, z.w * sigmoid(z.w) * v.w};
  }
}

DEVICE void gate_back_one(float &dg, float &du, float dm, float z, float u) {
  float s = sigmoid(z);
  du = dm * z * s;
  dg = dm * u * s * (1 + z * (1 - s));
}

KERNEL(256, 1, gate_back, float *dg, int lddg, float *du, int lddu, const float *dm, int lddm, const float *g, int ldg, const float *u,
       int ldu, int I) {
  ptx::after_previous();
  ptx::release();
  const long long row = ptx::bidx();
  for (int k = 4 * ptx::tid(); k < I; k += 4 * 256) {
    F4 d = ptx::load_floats(dm + row * lddm + k), z = ptx::load_floats(g + row * ldg + k), v = ptx::load_floats(u + row * ldu + k), a, b;
    gate_back_one(a.x, b.x, d.x, z.x, v.x), gate_back_one(a.y, b.y, d.y, z.y, v.y);
    gate_back_one(a.z, b.z, d.z, z.z, v.z), gate_back_one(a.w, b.w, d.w, z.w, v.w);
    *(F4 *)(dg + row * lddg + k) = a;
    *(F4 *)(du + row * lddu + k) = b;
  }
}
