// y[to(i)] = x[from(i)]: copies, gathers and scatters of rows.   x, y [.., D] f32
//
// to and from are lists of rows, or null for i itself. Grid: a block of 256 a row.
// Bound by memory: 8*N*D bytes.
#include "rows.cuh"

KERNEL(256, 1, move_rows, float *y, int ldy, const int *to, const float *x, int ldx, const int *from, int D) {
  ptx::after_previous();
  ptx::release();
  int i = ptx::bidx();
  float *out = y + (long long)(to ? to[i] : i) * ldy;
  const float *in = x + (long long)(from ? from[i] : i) * ldx;
  for (int k = 4 * ptx::tid(); k < D; k += 4 * 256)
    *(F4 *)(out + k) = ptx::load_floats(in + k);
}
