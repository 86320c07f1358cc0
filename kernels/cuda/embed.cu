// x[n] = table[ids[n]].   x [N, D] f32, pitch ldx; table [V, D] 16-bit, pitch ld
//
// Grid: N blocks of 256. Bound by memory: 6*N*D bytes.
#include "types.cuh"

#define EMBED(T, name)                                                                                                     \
  KERNEL(256, 1, embed_##name, float *x, int ldx, const u16 *table, int ld, const int *ids, int D) {                       \
    ptx::after_previous();                                                                                                 \
    ptx::release();                                                                                                        \
    int id = ids[ptx::bidx()];                                                                                             \
    const u16 *from = table + (long long)(id < 0 ? 0 : id) * ld; /* -1: the step before chose none */                      \
                                                               \
    float *to = x + (long long)ptx::bidx() * ldx;                                                                          \
    for (int k = ptx::tid(); k < D; k += 256)                                                                              \
      to[k] = T::widen(from[k]);                                                                                           \
  }
EMBED(BF16, bf16)
EMBED(F16, f16)
