// The KV cache at 8 bits. Every key and value of a head and position has a scale: an element is an
// integer of -127 to 127 times that.
#pragma once
#include "types.cuh"

// KVCacheI8 is one layer's pages, wherever they lie: row p of sequence s is row p%64 of the page
// at table[s*pages + p/64]. A page has a part for each head: keys [64, Dp] i8, values [64, Dp] i8,
// the keys' scales [64] f32, the values' scales [64] f32. Dp is the head size rounded up to 16,
// with zeros in its tail.
struct KVCacheI8 {
  const u64 *table; // [sequences, pages] addresses, of pages that exist
  int pages, K, Dp;
  __device__ __forceinline__ int head(int i) const { return i * (2 * kPageSize * Dp + 2 * kPageSize * 4); }
  // From a head's part on: where its values, its scales begin.
  __device__ __forceinline__ int values() const { return kPageSize * Dp; }
  __device__ __forceinline__ int scales() const { return 2 * kPageSize * Dp; }
  __device__ __forceinline__ i8 *part(SeqPosition w, int i) const {
    return (i8 *)table[(long long)w.seq * pages + w.pos / kPageSize] + head(i);
  }
};

// dequantize8 makes 16-bit numbers of eight integers and their scale: a byte goes into the mantissa
// of a number that is large enough to hold it, which is then taken away.
template <class T> static __device__ __forceinline__ uint4 dequantize8(uint2 v, float scale) {
  auto number = [=](u32 v, int i) {
    return (__builtin_bit_cast(float, ((v >> 8 * i & 0xff) ^ 0x80) | 0x4b000000) - (0x1p23f + 128)) * scale;
  };
  auto two = [=](u32 v, int i) { return T::pack(number(v, i), number(v, i + 1)); };
  return {two(v.x, 0), two(v.x, 2), two(v.y, 0), two(v.y, 2)};
}

// i8_row_pitch is Dp of a head of size Dh.
static __device__ __forceinline__ int i8_row_pitch(int Dh) { return Dh + 15 & ~15; }
