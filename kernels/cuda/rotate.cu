// Every head of x is turned by its row's position, pairs (i, i+Dh/2) by the angle
// position * freq[i], or by its negative: sign = -1, the gradient of turning.
//   x [N, heads*Dh] f32; turn [positions, Dh/2, 2] f32: cosine, sine
//   places [N, 2]: the row's position in its sequence, -1 = none, and its length
//
// Grid: a block of 128 a row. Bound by memory: 8 bytes an element.
#include "rows.cuh"

KERNEL(128, 1, rotate, float *x, int ldx, const float *turn, const int *places, int heads, int Dh, float sign) {
  ptx::after_previous();
  ptx::release();
  const int pos = places[2 * ptx::bidx()], half = Dh / 2;
  if (pos < 0)
    return;
  float *row = x + (long long)ptx::bidx() * ldx;
  const F2 *angles = (const F2 *)turn + (long long)pos * half;
  for (int i = ptx::tid(); i < heads * half; i += 128) {
    float *p = row + i / half * Dh + i % half, a = p[0], b = p[half];
    F2 cs = angles[i % half];
    cs.y *= sign;
    p[0] = a * cs.x - b * cs.y;
    p[half] = b * cs.x + a * cs.y;
  }
}
