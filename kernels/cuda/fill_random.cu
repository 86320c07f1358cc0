// Random weights: w[r, c] = element r*cols + c of a stream of package random, rounded to nearest
// even. The bits are those of the host.
//
//   w [rows, cols] 16-bit, pitch ld, zeros past cols
//
// Grid: one block of 256 threads per row. Bound by writing 2 bytes per element.
// Versions: one; not measured alone.
#include "types.cuh"

#define FILL(T, name)                                                       \
  extern "C" __global__ void __launch_bounds__(256, 1)                      \
      fill_random_##name(u16 *w, int ld, int cols, u64 key, float scale) {  \
    cudaGridDependencySynchronize();                                        \
    cudaTriggerProgrammaticLaunchCompletion();                              \
    u64 first = (u64)blockIdx.x * cols;                                     \
    u16 *row = w + (long long)blockIdx.x * ld;                              \
    for (int c = threadIdx.x; c < ld; c += 256) {                           \
      u64 i = first + c, z = key + ((i >> 1) + 1) * 0x9e3779b97f4a7c15ull;  \
      z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;                            \
      z = (z ^ z >> 27) * 0x94d049bb133111ebull;                            \
      int u = (int)(u32)((z ^ z >> 31) >> (32 * (i & 1)));                  \
      row[c] = c < cols ? narrow<T>((float)(2 * (u >> 8) + 1) * scale) : 0; \
    }                                                                       \
  }
FILL(BF16, bf16)
FILL(F16, f16)
