// Runs the kernels of attention_faults.cuh on the emulation, and says of each what it reports, or
// whether the attention is right.
#define EMULATED "testdata/attention_faults.cuh"
#include "../emu.cc"

#include <cmath>
#include <vector>

int main() {
  const int n = 131, heads = 2, dh = 64, width = heads * dh;
  const float scale = 0.125f;
  uint16_t *qkv = (uint16_t *)mop_emu_alloc(n * 3 * width * 2), *a = (uint16_t *)mop_emu_alloc(n * width * 2);
  for (int i = 0; i < n * 3 * width; i++)
    qkv[i] = emu::narrow_bf16((float)((i * 7 + i / 3 * 5) % 11 - 5) / 2);
  auto at = [&](int part, int row, int h, int d) { return emu::widen_bf16(qkv[(row * 3 + part) * width + h * dh + d]); };
  std::vector<float> want(n * width);
  for (int i = 0; i < n; i++)
    for (int h = 0; h < heads; h++) {
      double total = 0;
      std::vector<double> sums(dh);
      for (int t = 0; t < n; t++) {
        double s = 0;
        for (int d = 0; d < dh; d++)
          s += at(0, i, h, d) * at(1, t, h, d);
        total += s = exp(s * scale);
        for (int d = 0; d < dh; d++)
          sums[d] += s * at(2, t, h, d);
      }
      for (int d = 0; d < dh; d++)
        want[i * width + h * dh + d] = sums[d] / total;
    }
  const float scale_log2 = scale * 1.4426950408889634f;
  uint32_t bits;
  memcpy(&bits, &scale_log2, 4);
  const uint64_t slots[] = {(uint64_t)a, (uint64_t)width, (uint64_t)qkv, 3 * (uint64_t)width, (uint64_t)n, (uint64_t)heads, (uint64_t)dh, bits};
  for (const char *name : {"attention_right", "attention_no_wait", "attention_no_barrier"})
    for (uint64_t seed = 1; seed < 4; seed++) {
      memset(a, 0, n * width * 2);
      const char *error = mop_emu_launch(name, (n + 63) / 64, heads, 1, 128, 5 * 64 * 64 * 2, 1, slots, seed);
      bool right = true;
      for (int i = 0; i < n * width; i++)
        right &= fabsf(emu::widen_bf16(a[i]) - want[i]) <= 0.03f; // of values up to 2.5, rounded twice
      printf("%s: %s\n", name, error ? error : right ? "right" : "wrong");
    }
}
