// What the last of a warp's lanes to arrive at a rendezvous does for all 32. Included once, by
// emu.cc: one copy of each keeps the kernels small and their compilation short.
#pragma once

namespace emu {

EMU_UNCHECKED void meet(const char *op, void (*work)(Warp &)) {
  Warp &w = warp();
  if (w.here == 0)
    w.op = op;
  else if (w.op != op)
    fail("thread %d is at %s while its warp is at %s", m.now->tid, op, w.op);
  if (++w.here == 32) {
    work(w);
    w.here = 0;
    w.runnable = ~0u;
    return;
  }
  w.runnable &= ~(1u << lane());
  to_scheduler();
}

// accumulate adds 16 rows of 8 sums to the accumulators of mma.
template <int K> EMU_UNCHECKED static void accumulate(Warp &w, const float (&a)[16][K], const float (&b)[8][K]) {
  f32x4 rows[K][2];
  for (int k = 0; k < K; k++)
    for (int half = 0; half < 2; half++)
      rows[k][half] = _mm_setr_ps(b[4 * half][k], b[4 * half + 1][k], b[4 * half + 2][k], b[4 * half + 3][k]);
  for (int i = 0; i < 16; i++) {
    f32x4 sum[2];
    float flat[8];
    multiply8(sum, a[i], rows);
    memcpy(flat, sum, sizeof flat);
    for (int n = 0; n < 4; n++) {
      float *to = &w.acc[i % 8 * 4 + n][i / 8 * 2];
      to[0] += flat[2 * n], to[1] += flat[2 * n + 1];
    }
  }
}

template <class T> EMU_UNCHECKED void multiply_16x8x16(Warp &w) {
  float a[16][16], b[8][16];
  for (int l = 0; l < 32; l++) {
    const int g = l / 4, t = l % 4;
    float lower[4], upper[4];
    widen_pairs<T>(load4(w.in[l]), lower, upper);
    for (int i = 0; i < 4; i++)
      a[g + 8 * (i % 2)][2 * t + 8 * (i / 2)] = lower[i], a[g + 8 * (i % 2)][2 * t + 8 * (i / 2) + 1] = upper[i];
    widen_pairs<T>(load4(w.in[l] + 4), lower, upper);
    for (int i = 0; i < 2; i++)
      b[g][2 * t + 8 * i] = lower[i], b[g][2 * t + 8 * i + 1] = upper[i];
  }
  accumulate(w, a, b);
}

// multiply_tf32 drops the bits that tf32 does not have, as the tensor cores do.
EMU_UNCHECKED void multiply_tf32(Warp &w) {
  float a[16][8], b[8][8];
  auto one = [](float &to, uint32_t v) { v &= ~0x1fffu, memcpy(&to, &v, 4); };
  for (int l = 0; l < 32; l++) {
    const int g = l / 4, t = l % 4;
    one(a[g][t], w.in[l][0]), one(a[g + 8][t], w.in[l][1]), one(a[g][t + 4], w.in[l][2]), one(a[g + 8][t + 4], w.in[l][3]);
    one(b[g][t], w.in[l][4]), one(b[g][t + 4], w.in[l][5]);
  }
  accumulate(w, a, b);
}

EMU_UNCHECKED void load_matrices(Warp &w) {
  for (int j = 0; j < 4; j++)
    for (int row = 0; row < 8; row++) {
      uint32_t words[4];
      memcpy(words, w.address[j * 8 + row], sizeof words);
      for (int t = 0; t < 4; t++)
        w.out[4 * row + t][j] = words[t];
    }
}

EMU_UNCHECKED void load_transposed_matrices(Warp &w) {
  for (int j = 0; j < 4; j++) {
    uint16_t e[8][8];
    for (int row = 0; row < 8; row++)
      memcpy(e[row], w.address[j * 8 + row], sizeof e[row]);
    for (int l = 0; l < 32; l++)
      w.out[l][j] = e[2 * (l % 4)][l / 4] | (uint32_t)e[2 * (l % 4) + 1][l / 4] << 16;
  }
}

EMU_UNCHECKED void store_transposed_matrices(Warp &w) {
  for (int j = 0; j < 4; j++)
    for (int column = 0; column < 8; column++)
      for (int row = 0; row < 8; row++)
        ((uint16_t *)w.address[j * 8 + column])[row] = w.in[4 * row + column / 2][j] >> 16 * (column % 2);
}

EMU_UNCHECKED void exchange(Warp &w) {
  for (int l = 0; l < 32; l++)
    w.out[l][0] = w.in[l][0];
}

} // namespace emu
