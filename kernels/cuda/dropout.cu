// The bits of a dropout mask: bit c%32 of bits[n][c/32] is 1 where element (n, c) is kept.
//
//   positions[n]: the sequence of row n and its row in it; keys: of every sequence, or null
//   where all have `key`; an element is dropped if its half of a random word is below limit.
//   bits [N, ld] words, ld = in/32 rounded up to 4
//
// Grid: (words of a row / 128, N), 128 threads, a word each. Bound by arithmetic: a 64-bit hash
// for two elements, 16 or 17 a thread.
// Versions: (1) each product hashed for itself, three times an element; (2) now: once a pass.
// Not measured alone.
#include "types.cuh"

static __device__ __forceinline__ u64 random_word(u64 key, u64 i) {
  u64 z = key + (i + 1) * 0x9e3779b97f4a7c15ull;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

extern "C" __global__ void __launch_bounds__(128, 1)
    dropout_bits(u32 *bits, int ld, const SeqPosition *positions, const u64 *keys, u64 key, u32 limit, int in) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const int n = blockIdx.y, at = blockIdx.x * 128 + threadIdx.x;
  if (at >= ld)
    return;
  const SeqPosition w = positions[n];
  if (keys)
    key = keys[w.seq];
  const u64 e = (u64)w.pos * in + 32 * at; // the first element; words have two, from even ones on
  u32 kept = 0;
  u64 word = random_word(key, e >> 1);
#pragma unroll
  for (int i = 0; i < 32; i += 2) {
    u32 lo = (u32)word, hi = (u32)(word >> 32);
    if (i + 2 < 32 || e & 1)
      word = random_word(key, (e + i >> 1) + 1);
    if (e & 1)
      lo = hi, hi = (u32)word;
    kept |= (lo >= limit ? 1u : 0u) << i | (hi >= limit ? 2u : 0u) << i;
  }
  bits[(long long)n * ld + at] = kept;
}
