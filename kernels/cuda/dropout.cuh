// Counter-based dropout: whether element (r, c) of a sequence is kept depends only on the
// sequence's key and on r*in + c, through the random words of package random.
#pragma once
#include "types.cuh"

// DropoutMask says which elements of a matrix [n, in] are kept. positions[n].seq is the
// sequence of row n and .pos its row in it; if positions is null, nothing is dropped. The
// key of a single sequence needs no memory.
struct DropoutMask {
  const SeqPosition *positions;
  const u64 *keys; // null: all sequences have the key below
  u64 key;
  u32 limit; // an element is dropped if its half word is below the limit
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
