// What attention's forward and backward pass share: tiles of float32 rows in shared
// memory, rounded to tf32, and products of them on the tensor cores.
//
// A tile's rows are Width+4 floats apart, so that both ways of reading it touch
// every bank once: along its rows, and (down) two rows at a time across them. What a
// product leaves in registers, c0 and c1 in columns 2t and 2t+1, is then the next
// product's left operand as it stands, its k counted as 2t, 2t+1 in place of t, t+4.
#pragma once
#include "rows.cuh"

// Span's part that a block takes: rows first+at.. of the span's length rows from
// first on. A block's own tile has up to 64 rows.
struct alignas(16) SequenceTile {
  int first, length, at, pad;
};
constexpr int kTileRows = 64;

template <int Width> constexpr int kTilePitch = Width + 4;

// load_tile copies rows r0..r0+Rows-1 of x, columns c0..c0+Dh-1;
// zeros past the end and past the head's width.
template <int Width, int Rows>
static __device__ __forceinline__ void load_tile(u32 *tile, const float *x, int ldx, int r0, int end, int c0, int Dh) {
  constexpr int kRounds = Rows * Width / 4 / 128, kAhead = 8; // 16 bytes a thread and round
  if (Dh == Width) { // eight loads are under way before the first is stored
#pragma unroll 1
    for (int round = 0; round < kRounds; round += kAhead) {
      float4 v[kAhead];
      auto row = [&](int i) { return (threadIdx.x + 128 * (round + i)) / (Width / 4); };
      const int c = threadIdx.x % (Width / 4) * 4;
#pragma unroll
      for (int i = 0; i < kAhead; i++)
        v[i] = i < kRounds && r0 + row(i) < end ? ptx::ld_global_f4(x + (long long)(r0 + row(i)) * ldx + c0 + c)
                                                : float4{0, 0, 0, 0};
#pragma unroll
      for (int i = 0; i < kAhead; i++)
        if (i < kRounds)
          *(uint4 *)(tile + row(i) * kTilePitch<Width> + c) = {ptx::tf32(v[i].x), ptx::tf32(v[i].y), ptx::tf32(v[i].z),
                                                               ptx::tf32(v[i].w)};
    }
    return;
  }
  for (int i = threadIdx.x; i < Rows * Width / 4; i += 128) {
    int r = i / (Width / 4), c = i % (Width / 4) * 4;
    const float *from = x + (long long)(r0 + r) * ldx + c0 + c;
    u32 *to = tile + r * kTilePitch<Width> + c;
    bool in = r0 + r < end;
    if (in && Dh % 4 == 0 && c < Dh) {
      float4 v = ptx::ld_global_f4(from);
      *(uint4 *)to = {ptx::tf32(v.x), ptx::tf32(v.y), ptx::tf32(v.z), ptx::tf32(v.w)};
      continue;
    }
#pragma unroll
    for (int j = 0; j < 4; j++)
      to[j] = in && c + j < Dh ? ptx::tf32(from[j]) : 0;
  }
}

// mma_nt: c[m, n] += sum_k a[m, k] b[n, k], 16 rows of a by 8*N rows of b.
template <int Width, int N>
static __device__ __forceinline__ void mma_nt(float (&c)[N][4], const u32 *a, const u32 *b, int Dh) {
  constexpr int P = kTilePitch<Width>;
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll 4
  for (int k = 0; k < Width / 8; k++) {
    if (8 * k >= Dh)
      break;
    const u32 *x = a + g * P + 8 * k + t;
    u32 a0 = x[0], a1 = x[8 * P], a2 = x[4], a3 = x[8 * P + 4];
#pragma unroll
    for (int j = 0; j < N; j++) {
      const u32 *y = b + (8 * j + g) * P + 8 * k + t;
      ptx::mma_tf32(c[j], a0, a1, a2, a3, y[0], y[4]);
    }
  }
}

// mma_nn: c[m, n] += sum_k p[m, k] b[k, n], p a product's 16 by 8*K left in registers,
// b 8*K rows of Width.
template <int Width, int K>
static __device__ __forceinline__ void mma_nn(float (&c)[Width / 8][4], const float (&p)[K][4], const u32 *b, int Dh) {
  constexpr int P = kTilePitch<Width>;
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int k = 0; k < K; k++) {
    u32 a0 = ptx::tf32(p[k][0]), a1 = ptx::tf32(p[k][2]), a2 = ptx::tf32(p[k][1]), a3 = ptx::tf32(p[k][3]);
    const u32 *y = b + (8 * k + 2 * t) * P + g;
#pragma unroll
    for (int j = 0; j < Width / 8; j++) {
      if (8 * j >= Dh)
        break;
      ptx::mma_tf32(c[j], a0, a1, a2, a3, y[8 * j], y[8 * j + P]);
    }
  }
}

// store_rows writes 16 rows, those at r0+g and r0+g+8 that are below end.
template <int Width, class Out>
static __device__ __forceinline__ void store_rows(const float (&c)[Width / 8][4], float *x, int ldx, int r0, int end,
                                                  int c0, int Dh, Out out) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    int r = r0 + g + 8 * half;
    if (r >= end)
      continue;
    float2 *to = (float2 *)(x + (long long)r * ldx + c0 + 2 * t);
#pragma unroll
    for (int j = 0; j < Width / 8; j++)
      if (8 * j + 2 * t < Dh)
        to[4 * j] = out(c[j][2 * half], c[j][2 * half + 1], half);
  }
}

// head_dot is the product of two heads' rows.
static __device__ __forceinline__ float head_dot(const float *x, const float *y, int Dh) {
  float sum = 0;
  for (int c = 0; c < Dh; c++)
    sum += x[c] * y[c];
  return sum;
}

constexpr int kAnyColumns = 8; // of a head that a thread owns: widths up to 1024
