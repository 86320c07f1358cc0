// The two 16-bit types of weights and inner activations, and what the kernels
// do with them.
#pragma once
#include "ptx.cuh"

// of_bytes makes numbers of two signed bytes, each in the lower half of 16 bits: the
// byte goes into the mantissa of a number that is large enough to hold it, which is
// then taken away.
struct BF16 {
  static MEMBER u32 of_bytes(u32 v) { // 128 + the low seven bits, less 128 or 256
    return ptx::add_bf16((v & 0x007f007f) | 0x43004300, (v & 0x00800080) | 0xc300c300);
  }
  static MEMBER float widen(u16 v) { return __builtin_bit_cast(float, (u32)v << 16); }
  static MEMBER u32 pack(float lo, float hi) { return ptx::pack_bf16(lo, hi); }
  static MEMBER void mma(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
    ptx::mma_bf16(c, a0, a1, a2, a3, b0, b1);
  }
#ifdef HOPPER
  template <int N> static MEMBER void wgmma(float (&d)[N], u64 a, u64 b) { ptx::wgmma_bf16(d, a, b); }
  template <int N> static MEMBER void wgmma_first(float (&d)[N], u64 a, u64 b) { ptx::wgmma_first_bf16(d, a, b); }
  template <int N> static MEMBER void wgmma_across(float (&d)[N], const u32 (&a)[4], u64 b) { ptx::wgmma_across_bf16(d, a, b); }
#endif
};

struct F16 {
  static MEMBER u32 of_bytes(u32 v) { return ptx::add_f16((v ^ 0x00800080) | 0x64006400, 0xe480e480); } // 1152 + byte, less 1152
  static MEMBER float widen(u16 v) { return ptx::widen_f16(v); }
  static MEMBER u32 pack(float lo, float hi) { return ptx::pack_f16(lo, hi); }
  static MEMBER void mma(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
    ptx::mma_f16(c, a0, a1, a2, a3, b0, b1);
  }
#ifdef HOPPER
  template <int N> static MEMBER void wgmma(float (&d)[N], u64 a, u64 b) { ptx::wgmma_f16(d, a, b); }
  template <int N> static MEMBER void wgmma_first(float (&d)[N], u64 a, u64 b) { ptx::wgmma_first_f16(d, a, b); }
  template <int N> static MEMBER void wgmma_across(float (&d)[N], const u32 (&a)[4], u64 b) { ptx::wgmma_across_f16(d, a, b); }
#endif
};

// Byte is a weight of 8 bits: of row r and column k the integer, to be multiplied by
// the row's scale. The scales of a matrix, float32, follow its rows in memory.
//
// Of each 16 columns of a row the bytes are 0 1 8 9, 2 3 10 11, 4 5 12 13, 6 7 14 15: a
// word holds what a lane of a product of prefill multiplies. byte_place is where column k
// lies.
typedef signed char Byte;
DEVICE int byte_place(int k) { return k & ~14 | (k & 6) << 1 | (k & 8) >> 2; }

template <class T> DEVICE u16 narrow(float v) { return (u16)T::pack(v, 0); }

// widen8 gives the eight elements of a 16-byte access.
template <class T> DEVICE void widen8(float (&f)[8], V4 v) {
  const u32 r[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    f[2 * i] = T::widen((u16)r[i]);
    f[2 * i + 1] = T::widen((u16)(r[i] >> 16));
  }
}

DEVICE int min(int a, int b) { return a < b ? a : b; }
DEVICE int max(int a, int b) { return a > b ? a : b; }
DEVICE float min(float a, float b) { return a < b ? a : b; }
DEVICE float max(float a, float b) { return a > b ? a : b; }
DEVICE int ceil_div(int a, int b) { return (a + b - 1) / b; }

constexpr float kLog2e = 1.4426950408889634f;
constexpr float kInf = __builtin_inff();
constexpr int kPage = 64; // positions a cache page holds

// Sums and maxima over a warp, the same in every lane.
template <class F> DEVICE F warp_sum(F v) {
#pragma unroll
  for (int m = 16; m > 0; m >>= 1)
    v += ptx::shfl_xor(v, m);
  return v;
}
DEVICE float warp_max(float v) {
#pragma unroll
  for (int m = 16; m > 0; m >>= 1)
    v = max(v, ptx::shfl_xor(v, m));
  return v;
}

// block_sum adds over all Warps warps in a fixed order, the same in every
// thread; scratch holds Warps values and is free again on return.
template <int Warps, class F> DEVICE F block_sum(F v, F *scratch) {
  v = warp_sum(v);
  if (ptx::tid() % 32 == 0)
    scratch[ptx::tid() / 32] = v;
  ptx::sync();
  v = scratch[0];
#pragma unroll
  for (int w = 1; w < Warps; w++)
    v += scratch[w];
  ptx::sync();
  return v;
}

// Where a row of activations belongs: cache sequence and position.
struct Place {
  int seq, pos;
};

// Cache is one layer's pages, wherever they lie: row p of sequence s is row p%64 of
// the page at table[s*pages + p/64]. A page is keys [64, K, Dp] and then values of
// the same shape, Dp the head width rounded up to 8, with zeros in its tail.
struct Cache {
  const u64 *table; // [sequences, pages] addresses, of pages that exist
  int pages, K, Dp;
  MEMBER u16 *key(Place w, int head) const {
    u64 page = table[(long long)w.seq * pages + w.pos / kPage];
    return (u16 *)page + (long long)(w.pos % kPage * K + head) * Dp;
  }
  MEMBER int values() const { return kPage * K * Dp; } // from a key to its value
};

// Scaled multiplies an operation's two outputs by their rows' scales, where there are
// any, before the operation has them.
template <class Rows, class Out> struct Scaled {
  using Row = typename Out::Row;
  using Before = typename Out::Before;
  Rows rows;
  Out out;
  int on;
  MEMBER Row row(int n) const { return out.row(n); }
  MEMBER Before before(const Row &row, int pair) const { return out.before(row, pair); }
  MEMBER void operator()(const Row &row, int pair, float a, float b, const Before &before) const {
    if (on)
      a *= rows.scale(2 * pair), b *= rows.scale(2 * pair + 1);
    out(row, pair, a, b, before);
  }
  // The same in two: what is read, what is made of it.
  MEMBER F2 scales(int pair) const { return on ? F2{rows.scale(2 * pair), rows.scale(2 * pair + 1)} : F2{1, 1}; }
  MEMBER void put(const Row &row, int pair, float a, float b, F2 scales, const Before &before) const {
    out(row, pair, on ? a * scales.x : a, on ? b * scales.y : b, before);
  }
};
template <class Rows, class Out> DEVICE Scaled<Rows, Out> scaled(const Rows &rows, int on, const Out &out) { return {rows, out, on}; }
