// Dropout by counting: whether element (r, c) of a sequence is kept is a function
// of the sequence's key and of r*in + c alone, that of package random's words.
#pragma once
#include "types.cuh"

// DropoutMask says what of a matrix [n, in] is kept. places[n].seq is row n's sequence
// and .pos its row in it; no places, nothing is dropped. A single sequence's key
// needs no memory.
struct DropoutMask {
  const SeqPosition *positions;
  const u64 *keys; // null = key is that of all
  u64 key;
  u32 limit; // a half word below it drops
  int in;

  // Row is what is needed of a row.
  struct Row {
    u64 key, first; // first: its element 0
  };
  __device__ __forceinline__ Row row(int n) const {
    SeqPosition w = positions[n];
    return {keys ? keys[w.seq] : key, (u64)w.pos * in};
  }
  static __device__ __forceinline__ u64 word(u64 key, u64 i) {
    u64 z = key + (i + 1) * 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
  }
  // two zeroes what is dropped of columns c and c+1.
  __device__ __forceinline__ void two(Row r, int c, float &a, float &b) const {
    u64 e = r.first + c, w = word(r.key, e >> 1);
    u32 lo = (u32)w, hi = (u32)(w >> 32);
    if (e & 1)
      lo = hi, hi = (u32)word(r.key, (e >> 1) + 1);
    if (lo < limit)
      a = 0;
    if (hi < limit)
      b = 0;
  }
};
