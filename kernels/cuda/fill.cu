// w[r, c] = element r*cols + c of a stream of package random, rounded to nearest
// even: random weights, equal to the host's to the bit.
//
//   w [rows, cols] 16-bit, pitch ld, zeros past cols.  fill_*: one block of 256 a
//   row. Bound by writing.
#include "types.cuh"

#define FILL(T, name)                                                                                                      \
  KERNEL(256, 1, fill_##name, u16 *w, int ld, int cols, u64 key, float scale) {                                            \
    ptx::after_previous();                                                                                                 \
    ptx::release();                                                                                                        \
    u64 first = (u64)ptx::bidx() * cols;                                                                                   \
    u16 *row = w + (long long)ptx::bidx() * ld;                                                                            \
    for (int c = ptx::tid(); c < ld; c += 256) {                                                                           \
      u64 i = first + c, z = key + ((i >> 1) + 1) * 0x9e3779b97f4a7c15ull;                                                 \
      z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;                                                                           \
      z = (z ^ z >> 27) * 0x94d049bb133111ebull;                                                                           \
      int u = (int)(u32)((z ^ z >> 31) >> (32 * (i & 1)));                                                                 \
      row[c] = c < cols ? narrow<T>((float)(2 * (u >> 8) + 1) * scale) : 0;                                                \
    }                                                                                                                      \
  }
FILL(BF16, bf16)
FILL(F16, f16)
