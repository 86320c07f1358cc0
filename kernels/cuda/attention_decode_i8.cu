// Decode attention over a KV cache at 8 bits (kv_i8.cuh): attention_decode.cu's operation and
// parameters, Dp being the head size rounded up to 16.
//
// Grid: (splits, K * ceil(group/8) * ceil(Dh/Width), N), 256 threads. Memory-bound: 2*K*(Dh+4)*T
// bytes and 4*H*Dh*T flops per row.
//
// Nothing is lost here but the rounding of sums. The integers are exact in 16 bits. A score is the
// product of a query and integers, times the key's scale; a weight is multiplied by the value's
// scale before it becomes two 16-bit numbers. These are bfloat16 whatever the queries' type: they
// may be far smaller than float16 reaches.
//
// A lane multiplies 16 keys of a row, whose bytes 0 and 2 of a word make one operand, bytes 1 and 3
// the next; store_query has the queries in that order. ldmatrix turns values two bytes at a time,
// so that columns 2*g and 2*g+1 are rows g and g+8 of a product.
//
// Versions: one; not measured. Twice as many positions in a step, as many bytes as with 16 bits, would
// need 32 registers more than there are for two blocks on an SM.
#include "attention_decode.cuh"
#include "kv_i8.cuh"

// even_bytes makes numbers of bytes 0 and 2 of a word.
template <class T> static __device__ __forceinline__ u32 even_bytes(u32 v);
template <> __device__ __forceinline__ u32 even_bytes<BF16>(u32 v) { return BF16::from_bytes(v); }
template <> __device__ __forceinline__ u32 even_bytes<F16>(u32 v) { return F16::from_bytes(v & 0x00ff00ff); }

// Int8Reader is the Reader (attention_decode.cuh) of a cache of 8 bits.
template <int Width> struct Int8Reader {
  using Cache = KVCacheI8;
  using Element = i8;
  static constexpr int kPositions = 2048 / Width; // positions that a warp takes at a time
  static constexpr int kTiles = kPositions / 8;   // MMA tiles of eight positions in those
  static constexpr int kValuePitch = Width + 16;  // bytes between two positions' values
  static constexpr int kValues = kPositions * kValuePitch / 4; // floats, before the scales of keys and of values
  static constexpr int kSums = kGroup * Partial<Width>::kPitch;
  static constexpr int kWarp =
      kValues + 2 * kPositions > kSums ? kValues + 2 * kPositions : kSums; // floats of shared memory of a warp
  static constexpr int kPerLane = 16, kQueryPadding = 8;
  static constexpr bool kScaled = true;
  using Keys = uint4[kTiles][Width / 64];
  const KVCacheI8 &cache;
  int pos;     // the row's position, the last one that is read
  int stride;  // bytes from a position to the next within a page
  int column0; // first column of values of this block
  int lane;
  static __device__ __forceinline__ int part(const KVCacheI8 &cache, int head) { return cache.head(head); }
  static __device__ __forceinline__ int line(const KVCacheI8 &cache) { return cache.Dp; }

  // at returns where row r of a step begins in a page.
  __device__ __forceinline__ const i8 *at(const i8 *page, int step, int r) const {
    return page + (step * kPositions % kPageSize + r) * stride;
  }
  // key reads 16 bytes of the key of tile i, columns 64*c + 16*(lane%4); zeros past pos.
  __device__ __forceinline__ uint4 key(const i8 *page, int step, int i, int c) const {
    const int g = lane / 4, t = lane % 4;
    return ptx::ld_global_if(at(page, step, g) + 16 * t + 64 * c + 8 * i * stride,
                             pos - step * kPositions - g >= 8 * i && 16 * t + 64 * c < cache.Dp);
  }
  // load_k reads the first Width columns of a step's keys into registers.
  __device__ __forceinline__ void load_k(Keys &k, const i8 *page, int step) const {
#pragma unroll
    for (int i = 0; i < kTiles; i++)
#pragma unroll
      for (int c = 0; c < Width / 64; c++)
        k[i][c] = key(page, step, i, c);
  }
  // load_v starts the copy of a step's values [kPositions, kValuePitch] and of the scales of keys
  // and values [2, kPositions] to shared memory. The addresses are found anew in each step: there are
  // no registers to keep them in.
  __device__ __forceinline__ void load_v(float *vs, const i8 *page, int step) const {
    constexpr int kChunks = Width / 16, kRows = 32 / kChunks; // rows that the warp copies at a time
    const int mine = ptx::opaque(lane), r = mine / kChunks, c = mine % kChunks;
    const i8 *from = at(page, step, r) + cache.values() + (column0 + 16 * c);
    const int left = column0 + 16 * c < cache.Dp ? pos - step * kPositions - r : -1;
#pragma unroll
    for (int i = 0; i < kPositions / kRows; i++)
      ptx::cp_async((i8 *)vs + (r + i * kRows) * kValuePitch + 16 * c, from + i * kRows * stride, left >= i * kRows);
    constexpr int kScales = kPositions / 4; // copies of four scales
    if (const int mine = ptx::opaque(lane), which = mine / kScales, s = mine % kScales * 4; which < 2)
      ptx::cp_async(vs + kValues + which * kPositions + s,
                    (const float *)(page + cache.scales()) + which * kPageSize + step * kPositions % kPageSize + s,
                    pos - step * kPositions >= s);
    ptx::cp_async_commit();
  }
  // store_query puts elements 0 1 2 3 in the order 0 2 1 3.
  static __device__ __forceinline__ void store_query(u16 *q, int d, u32 two) {
    u16 *to = q + (d & ~3) + d % 4 / 2;
    to[0] = (u16)two, to[2] = (u16)(two >> 16);
  }

  // compute_qk multiplies the queries by a step's keys: see HalfReader.
  template <class T>
  __device__ __forceinline__ void compute_qk(float (&s)[kTiles][4], const u16 *q, const Keys &k, const i8 *page,
                                             int step) const {
    auto multiply = [&](float(&s)[4], uint4 y, int k0) {
      const uint4 z0 = *(const uint4 *)(q + k0), z1 = *(const uint4 *)(q + k0 + 8);
      auto four = [&](u32 a, u32 b, u32 y) { T::mma(s, a, 0, b, 0, even_bytes<T>(y), even_bytes<T>(y >> 8)); };
      four(z0.x, z0.y, y.x), four(z0.z, z0.w, y.y);
      four(z1.x, z1.y, y.z), four(z1.z, z1.w, y.w);
    };
#pragma unroll
    for (int c = 0; c < Width / 64; c++)
#pragma unroll
      for (int i = 0; i < kTiles; i++)
        multiply(s[i], k[i][c], 64 * c);
    if constexpr (Width == 128) // heads that are wider
      for (int c = Width / 64; 64 * c < cache.Dp; c++)
#pragma unroll
        for (int i = 0; i < kTiles; i++)
          multiply(s[i], key(page, step, i, c), 64 * c);
  }

  // scale_scores multiplies scores by the scales of their keys.
  static __device__ __forceinline__ void scale_scores(float (&s)[kTiles][4], const float *vs, int t) {
#pragma unroll
    for (int i = 0; i < kTiles; i++) {
      const float2 scale = *(const float2 *)(vs + kValues + 8 * i + 2 * t);
      s[i][0] *= scale.x, s[i][1] *= scale.y;
    }
  }

  // accumulate_v adds the step's values in shared memory to o, weighted by 2^(s - m) and scaled.
  //   o     columns 16*i + 2*(lane/4) and the next, query heads 2*(lane%4) and the next
  template <class T>
  static __device__ __forceinline__ void accumulate_v(float (&o)[Width / 16][4], float &l, float m,
                                                      const float (&s)[kTiles][4], const float *vs, int lane) {
#pragma unroll
    for (int e = 0; e < kTiles / 2; e++) {
      u32 high[2], low[2]; // weights of positions 2t, 2t+1 and 2t+8, 2t+9
#pragma unroll
      for (int i = 0; i < 2; i++) {
        float x = ptx::exp2(s[2 * e + i][0] - m), y = ptx::exp2(s[2 * e + i][1] - m);
        l += x + y;
        const float2 scale =
            *(const float2 *)(vs + kValues + kPositions + 8 * (2 * e + i) + 2 * (lane % 4));
        x = x > 0 ? x * scale.x : 0, y = y > 0 ? y * scale.y : 0; // past pos a scale may be anything
        high[i] = BF16::pack(x, y);
        low[i] = BF16::pack(x - BF16::widen((u16)high[i]), y - BF16::widen((u16)(high[i] >> 16)));
      }
#pragma unroll
      for (int i = 0; i < Width / 16; i += 2) {
        u32 f[4];
        ptx::ldmatrix_trans(f, (const i8 *)vs + (16 * e + lane / 8 % 2 * 8 + lane % 8) * kValuePitch + 16 * i +
                                   lane / 16 * 16);
#pragma unroll
        for (int j = 0; j < 2; j++) {
          const u32 a0 = BF16::from_bytes(f[2 * j]), a1 = BF16::from_bytes(f[2 * j] >> 8),
                    a2 = BF16::from_bytes(f[2 * j + 1]), a3 = BF16::from_bytes(f[2 * j + 1] >> 8);
          BF16::mma(o[i + j], a0, a1, a2, a3, high[0], high[1]);
          BF16::mma(o[i + j], a0, a1, a2, a3, low[0], low[1]);
        }
      }
    }
  }
  static __device__ __forceinline__ int column(int i, int g) { return i / 2 * 16 + 2 * g + i % 2; }
};

#define ATTENTION_DECODE_I8(T, name, width)                                                                      \
  extern "C" __global__ void __launch_bounds__(32 * kAttentionWarps, 2) attention_decode_i8_##width##_##name(    \
      u16 *a, int lda, const u16 *q, int ldq, const u64 *table, int pages, const uint2 *positions, int sequence, \
      int group, int K, int Dh, float scale, float *partial, u32 *counters) {                                    \
    attention_decode<T, width, Int8Reader<width>>(a, lda, q, ldq, {table, pages, K, i8_row_pitch(Dh)},           \
                                                  positions, sequence, group, Dh, scale, partial, counters);     \
  }
ATTENTION_DECODE_I8(BF16, bf16, 64)
ATTENTION_DECODE_I8(F16, f16, 64)
ATTENTION_DECODE_I8(BF16, bf16, 128)
ATTENTION_DECODE_I8(F16, f16, 128)

#define ATTENTION_DECODE_BALANCED_I8(T, name)                                                                        \
  extern "C" __global__ void __launch_bounds__(32 * kAttentionWarps, 2) attention_decode_balanced_i8_64_##name(      \
      u16 *a, int lda, const u16 *q, int ldq, const u64 *table, int pages, const uint2 *positions, int rows,         \
      int room, int group, int K, int Dh, float scale, float *partial, u32 *counters) {                              \
    attention_decode_balanced<T, 64, Int8Reader<64>>(a, lda, q, ldq, {table, pages, K, i8_row_pitch(Dh)}, positions, \
                                                     rows, room, group, Dh, scale, partial, counters);               \
  }
ATTENTION_DECODE_BALANCED_I8(BF16, bf16)
ATTENTION_DECODE_BALANCED_I8(F16, f16)
