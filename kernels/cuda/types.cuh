// The two 16-bit types of weights and inner activations, and what the kernels
// do with them.
#pragma once
#include "ptx.cuh"

// from_bytes makes numbers of two signed bytes, each in the lower half of 16 bits: the
// byte goes into the mantissa of a number that is large enough to hold it, which is
// then taken away.
struct BF16 {
  static __device__ __forceinline__ u32 from_bytes(u32 v) { // 128 + the low seven bits, less 128 or 256
    return ptx::add_bf16(ptx::and_or(v, 0x007f007f, 0x43004300), ptx::and_or(v, 0x00800080, 0xc300c300));
  }
  // from_word makes the same of the lower (0) or upper (1) two bytes of a word.
  static __device__ __forceinline__ u32 from_word(u32 v, int upper) {
    const u32 b = ptx::unpack_bytes(v, upper, 0x43);
    return ptx::add_bf16(b & 0xff7fff7f, ptx::and_or(b, 0x00800080, 0xc300c300));
  }
  static __device__ __forceinline__ float widen(u16 v) { return __builtin_bit_cast(float, (u32)v << 16); }
  static __device__ __forceinline__ u32 pack(float lo, float hi) { return ptx::pack_bf16(lo, hi); }
  static __device__ __forceinline__ void mma(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
    ptx::mma_bf16(c, a0, a1, a2, a3, b0, b1);
  }
#ifdef HOPPER
  template <int N> static __device__ __forceinline__ void wgmma(float (&d)[N], u64 a, u64 b) {
    ptx::wgmma_bf16(d, a, b);
  }
  template <int N> static __device__ __forceinline__ void wgmma_mn_major_a(float (&d)[N], u64 a, u64 b) {
    ptx::wgmma_mn_major_a_bf16(d, a, b);
  }
  template <int N> static __device__ __forceinline__ void wgmma_overwrite(float (&d)[N], u64 a, u64 b) {
    ptx::wgmma_overwrite_bf16(d, a, b);
  }
  template <int N> static __device__ __forceinline__ void wgmma_rs_mn_major(float (&d)[N], const u32 (&a)[4], u64 b) {
    ptx::wgmma_rs_mn_major_bf16(d, a, b);
  }
#endif
};

struct F16 {
  static __device__ __forceinline__ u32 from_bytes(u32 v) {
    return ptx::add_f16((v ^ 0x00800080) | 0x64006400, 0xe480e480);
  } // 1152 + byte, less 1152
  static __device__ __forceinline__ u32 from_word(u32 v, int upper) {
    return ptx::add_f16(ptx::unpack_bytes(v, upper, 0x64) ^ 0x00800080, 0xe480e480);
  }
  static __device__ __forceinline__ float widen(u16 v) { return ptx::widen_f16(v); }
  static __device__ __forceinline__ u32 pack(float lo, float hi) { return ptx::pack_f16(lo, hi); }
  static __device__ __forceinline__ void mma(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
    ptx::mma_f16(c, a0, a1, a2, a3, b0, b1);
  }
#ifdef HOPPER
  template <int N> static __device__ __forceinline__ void wgmma(float (&d)[N], u64 a, u64 b) {
    ptx::wgmma_f16(d, a, b);
  }
  template <int N> static __device__ __forceinline__ void wgmma_mn_major_a(float (&d)[N], u64 a, u64 b) {
    ptx::wgmma_mn_major_a_f16(d, a, b);
  }
  template <int N> static __device__ __forceinline__ void wgmma_overwrite(float (&d)[N], u64 a, u64 b) {
    ptx::wgmma_overwrite_f16(d, a, b);
  }
  template <int N> static __device__ __forceinline__ void wgmma_rs_mn_major(float (&d)[N], const u32 (&a)[4], u64 b) {
    ptx::wgmma_rs_mn_major_f16(d, a, b);
  }
#endif
};

// i8 is a weight of 8 bits: of row r and column k the integer, to be multiplied by
// the row's scale. The scales of a matrix, float32, follow its rows in memory.
//
// Of each 16 columns of a row the bytes are 0 1 8 9, 2 3 10 11, 4 5 12 13, 6 7 14 15: a
// word holds what a lane of a product of prefill multiplies. interleaved_column is where column k
// lies.
typedef signed char i8;
static __device__ __forceinline__ int interleaved_column(int k) { return k & ~14 | (k & 6) << 1 | (k & 8) >> 2; }

template <class T> static __device__ __forceinline__ u16 narrow(float v) { return (u16)T::pack(v, 0); }

// widen8 gives the eight elements of a 16-byte access.
template <class T> static __device__ __forceinline__ void widen8(float (&f)[8], uint4 v) {
  const u32 r[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    f[2 * i] = T::widen((u16)r[i]);
    f[2 * i + 1] = T::widen((u16)(r[i] >> 16));
  }
}

static __device__ __forceinline__ int min(int a, int b) { return a < b ? a : b; }
static __device__ __forceinline__ int max(int a, int b) { return a > b ? a : b; }
static __device__ __forceinline__ float min(float a, float b) { return a < b ? a : b; }
static __device__ __forceinline__ float max(float a, float b) { return a > b ? a : b; }
static __device__ __forceinline__ int ceil_div(int a, int b) { return (a + b - 1) / b; }

constexpr float kLog2e = 1.4426950408889634f;
constexpr float kInf = __builtin_inff();
constexpr int kPageSize = 64; // positions a cache page holds

// Sums and maxima over a warp, the same in every lane.
template <class F> static __device__ __forceinline__ F warp_sum(F v) {
#pragma unroll
  for (int m = 16; m > 0; m >>= 1)
    v += __shfl_xor_sync(0xffffffff, v, m);
  return v;
}
static __device__ __forceinline__ float warp_max(float v) {
#pragma unroll
  for (int m = 16; m > 0; m >>= 1)
    v = max(v, __shfl_xor_sync(0xffffffff, v, m));
  return v;
}

// block_sum adds over all Warps warps in a fixed order, the same in every
// thread; scratch holds Warps values and is free again on return.
template <int Warps, class F> static __device__ __forceinline__ F block_sum(F v, F *scratch) {
  v = warp_sum(v);
  if (threadIdx.x % 32 == 0)
    scratch[threadIdx.x / 32] = v;
  __syncthreads();
  v = scratch[0];
#pragma unroll
  for (int w = 1; w < Warps; w++)
    v += scratch[w];
  __syncthreads();
  return v;
}

// Where a row of activations belongs: cache sequence and position.
struct SeqPosition {
  int seq, pos;
};

// KVCache is one layer's pages, wherever they lie: row p of sequence s is row p%64 of
// the page at table[s*pages + p/64]. A page is keys [64, K, Dp] and then values of
// the same shape, Dp the head width rounded up to 8, with zeros in its tail.
struct KVCache {
  const u64 *table; // [sequences, pages] addresses, of pages that exist
  int pages, K, Dp;
  __device__ __forceinline__ u16 *key(SeqPosition w, int head) const {
    u64 page = table[(long long)w.seq * pages + w.pos / kPageSize];
    return (u16 *)page + (long long)(w.pos % kPageSize * K + head) * Dp;
  }
  __device__ __forceinline__ int values() const { return kPageSize * K * Dp; } // from a key to its value
};

// Scaled multiplies an operation's two outputs by their rows' scales, where there are
// any, before the operation has them.
template <class Rows, class Out> struct Scaled {
  using Row = typename Out::Row;
  using Source = typename Out::Source;
  Rows rows;
  Out out;
  int on;
  __device__ __forceinline__ Row row(int n) const { return out.row(n); }
  __device__ __forceinline__ Source source(const Row &row, int pair) const { return out.source(row, pair); }
  __device__ __forceinline__ void operator()(const Row &row, int pair, float a, float b, const Source &source) const {
    if (on)
      a *= rows.scale(2 * pair), b *= rows.scale(2 * pair + 1);
    out(row, pair, a, b, source);
  }
  // The same in two: what is read, what is made of it.
  __device__ __forceinline__ float2 scales(int pair) const {
    return on ? float2{rows.scale(2 * pair), rows.scale(2 * pair + 1)} : float2{1, 1};
  }
  __device__ __forceinline__ void put(const Row &row, int pair, float a, float b, float2 scales,
                                      const Source &source) const {
    out(row, pair, on ? a * scales.x : a, on ? b * scales.y : b, source);
  }
};
template <class Rows, class Out>
static __device__ __forceinline__ Scaled<Rows, Out> scaled(const Rows &rows, int on, const Out &out) {
  return {rows, out, on};
}
