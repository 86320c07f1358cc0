// Counter-based dropout: whether element (r, c) of a sequence is kept depends only on the
// sequence's key and on r*in + c, through the random words of package random. dropout.cu makes
// one bit of each element, once a pass; the products read the bits.
#pragma once
#include "types.cuh"

// DropoutMask is the bits of a matrix [n, in], 1 for what is kept, ld words of 32 columns a row;
// null where nothing is dropped. Rows are whole multiples of 128 columns, of which those past
// `in` are undefined.
struct DropoutMask {
  const u32 *bits;
  int ld;

  // row is the words of a row.
  __device__ __forceinline__ const u32 *row(int n) const { return bits + (long long)n * ld; }
  // two zeroes what is dropped of columns c and c+1, c even.
  static __device__ __forceinline__ void two(u32 word, int c, float &a, float &b) {
    word >>= c % 32;
    a = word & 1 ? a : 0;
    b = word & 2 ? b : 0;
  }
};
