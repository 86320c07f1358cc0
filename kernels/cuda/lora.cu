// The small products of a LoRA adapter, A [rank, in], B [out, rank]. They read the activations
// [N, cols] in float32 or 16 bits and round them to bfloat16 on the way to the tensor cores;
// dropout is applied there.
//
//   lora_down_*, lora_up_*: part[s][n, r] = sum over the s-th 256 columns k of
//              drop(x)[n, k] a(r, k), where a is A (lora_down) or B^T (lora_up, for
//              y' B); also half[n] = x[n] rounded to a 16-bit type, without dropout,
//              where half is not null
//   lora_down_half_*, lora_up_half_*: the same of 16-bit x
//   lora_reduce: u[n, r] = f sum_s part[s][n, r]; half[n, r] = g u[n, r] in bfloat16;
//              and a matrix m rounded to bfloat16, for the large products
//   lora_grad, lora_grad_Y_X: B' += fb y'^T u and A' += fa u'^T drop(x), sums over tokens;
//              Y and X are the types of y' and x, f32 both where they are not named
//
// A row's sums depend on its length only, those over tokens on their number.
// Grids: lora_down, lora_up: (parts, 64 rows, 64 of rank), 128 threads; lora_reduce: 256 elements
// per block, first those of u, then four by four of m; lora_grad: (64 of out, then of in; 64 of
// rank), 128 threads. Memory-bound: 4*N*cols bytes, 2*N*cols of 16-bit x;
// 2*N*cols*rank flops.
//
// Versions: (1) one launch per gradient; (2) now: one launch for both gradients. Not measured alone.
#include "dropout.cuh"
#include "gemm_train.cuh"
#include "rows.cuh"

constexpr int kSide = 64;         // of all tiles here
constexpr int kPartColumns = 256; // columns of a part

// Square is a 64x64 piece of a float32 matrix in registers: 16 threads a row.
struct RegisterTile {
  float4 v[8];

  // fetch takes rows r0.. and columns c0.. of x [rows, cols] of type X; zeros past them.
  template <class X = F32>
  __device__ __forceinline__ void fetch(const void *x, int ld, int rows, int cols, int r0, int c0) {
    const int c = c0 + threadIdx.x % 16 * 4, r = r0 + threadIdx.x / 16;
#pragma unroll
    for (int i = 0; i < 8; i++) {
      v[i] = {0, 0, 0, 0};
      if (r + 8 * i < rows && c < cols) {
        v[i] = Row<X>::four(Row<X>::at(x, r + 8 * i, ld), c);
        v[i].y = c + 1 < cols ? v[i].y : 0, v[i].z = c + 2 < cols ? v[i].z : 0, v[i].w = c + 3 < cols ? v[i].w : 0;
      }
    }
  }
  __device__ __forceinline__ void drop(const DropoutMask &mask, int rows, int r0, int c0) {
    const int c = c0 + threadIdx.x % 16 * 4, r = r0 + threadIdx.x / 16;
#pragma unroll
    for (int i = 0; i < 8; i++)
      if (r + 8 * i < rows) {
        const u32 word = mask.row(r + 8 * i)[c / 32];
        mask.two(word, c, v[i].x, v[i].y);
        mask.two(word, c + 2, v[i].z, v[i].w);
      }
  }
  // lay rounds it to a stage [64, 64] in shared memory.
  __device__ __forceinline__ void lay(u16 *to) const {
    const int quad = threadIdx.x % 16, r = threadIdx.x / 16;
#pragma unroll
    for (int i = 0; i < 8; i++)
      *(uint2 *)(to + (r + 8 * i) * kSide + ((quad / 2) ^ (r + 8 * i) % 8) * 8 +
                 quad % 2 * 4) = {BF16::pack(v[i].x, v[i].y), BF16::pack(v[i].z, v[i].w)};
  }
  // store rounds it to rows of a matrix; ld is a multiple of 64.
  template <class T> __device__ __forceinline__ void store(u16 *half, int ld, int rows, int r0, int c0) const {
    const int c = c0 + threadIdx.x % 16 * 4, r = r0 + threadIdx.x / 16;
#pragma unroll
    for (int i = 0; i < 8; i++)
      if (r + 8 * i < rows)
        *(uint2 *)(half + (long long)(r + 8 * i) * ld + c) = {T::pack(v[i].x, v[i].y), T::pack(v[i].z, v[i].w)};
  }
};

// A is what lies in a's stage: Along for A, Across for B.
template <class T, class A, class X>
static __device__ __forceinline__ void lora_partial(float *part, const void *x, int ldx, int n, int cols,
                                                    const float *a, int lda, int rank, u16 *half, int ldh,
                                                    DropoutMask mask) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  constexpr int kStage = 2 * kSide * kSide;
  u16 *shared = (u16 *)smem;
  const int first = blockIdx.x * kPartColumns, n0 = blockIdx.y * kSide, r0 = blockIdx.z * kSide;
  const int steps = min(kPartColumns / kSide, ceil_div(cols - first, kSide));
  Accumulator<TrainTile64x64> sum;
  RegisterTile rows, side;
  auto fetch = [&](int step) {
    int k = first + step * kSide;
    rows.fetch<X>(x, ldx, n, cols, n0, k);
    if (__is_same(A, KMajor))
      side.fetch(a, lda, rank, cols, r0, k);
    else
      side.fetch(a, lda, cols, rank, k, r0);
  };
  fetch(0);
  for (int step = 0; step < steps; step++) {
    u16 *stage = shared + step % 2 * kStage;
    int k = first + step * kSide;
    if (__is_same(X, F32) && half && r0 == 0)
      rows.store<T>(half, ldh, n, n0, k);
    if (mask.bits)
      rows.drop(mask, n, n0, k);
    rows.lay(stage);
    side.lay(stage + kSide * kSide);
    __syncthreads(); // the other stage is free: all have passed the barrier after it
    if (step + 1 < steps)
      fetch(step + 1);
    multiply<BF16, KMajor, A>(sum, stage, stage + kSide * kSide, [](int) {});
  }
  part += (long long)blockIdx.x * n * rank;
  each(sum, n0, r0, [&](int i, int r, float &a, float &b) {
    if (i < n && r < rank)
      part[(long long)i * rank + r] = a;
    if (i < n && r + 1 < rank)
      part[(long long)i * rank + r + 1] = b;
  });
}

#define LORA_PARTIAL(T, name, A, X, side)                                                                          \
  extern "C" __global__ void __launch_bounds__(128, 2)                                                             \
      lora_##side##_##name(float *part, const void *x, int ldx, int n, int cols, const float *a, int lda, int rank, \
                           u16 *half, int ldh, const u32 *bits, int ldb) {                                         \
    lora_partial<T, A, X>(part, x, ldx, n, cols, a, lda, rank, half, ldh, {bits, ldb});                            \
  }
LORA_PARTIAL(BF16, bf16, KMajor, F32, down)
LORA_PARTIAL(F16, f16, KMajor, F32, down)
LORA_PARTIAL(BF16, bf16, MNMajor, F32, up)
LORA_PARTIAL(BF16, half_bf16, KMajor, BF16, down)
LORA_PARTIAL(F16, half_f16, KMajor, F16, down)
LORA_PARTIAL(BF16, half_bf16, MNMajor, BF16, up)

extern "C" __global__ void __launch_bounds__(256, 1)
    lora_reduce(float *u, int ldu, u16 *half, int ldh, const float *part, int parts, int n, int rank, float f, float g,
                u16 *to, int ldt, const float *m, int ldm, int rows, int cols, int blocks) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  if (blockIdx.x < blocks) {
    long long i = (long long)blockIdx.x * 256 + threadIdx.x;
    int row = (int)(i / ldh), r = (int)(i % ldh);
    if (row >= n)
      return;
    float sum = 0;
    if (r < rank) {
#pragma unroll 8
      for (int s = 0; s < parts; s++)
        sum += part[((long long)s * n + row) * rank + r];
      sum *= f;
      u[(long long)row * ldu + r] = sum;
    }
    half[(long long)row * ldh + r] = narrow<BF16>(g * sum);
    return;
  }
  long long i = (long long)(blockIdx.x - blocks) * 256 + threadIdx.x;
  int row = (int)(i / (ldt / 4)), c = (int)(i % (ldt / 4)) * 4;
  if (row >= rows)
    return;
  float4 v = {0, 0, 0, 0};
  if (c < cols) {
    v = ptx::ld_global_f4(m + (long long)row * ldm + c);
    v.y = c + 1 < cols ? v.y : 0, v.z = c + 2 < cols ? v.z : 0, v.w = c + 3 < cols ? v.w : 0;
  }
  *(uint2 *)(to + (long long)row * ldt + c) = {BF16::pack(v.x, v.y), BF16::pack(v.z, v.w)};
}

// Gradient is one of the two: C += f drop(x)^T u.
struct Gradient {
  float *c;
  int ldc, turned;
  const void *x;
  int ldx, cols;
  const float *u;
  int ldu;
  float f;
  DropoutMask mask;
};

template <class X>
static __device__ __forceinline__ void lora_gradient(const Gradient &g, int n, int rank, int c0, int r0) {
  constexpr int kStage = 2 * kSide * kSide;
  u16 *shared = (u16 *)smem;
  const int steps = ceil_div(n, kSide);
  Accumulator<TrainTile64x64> sum;
  RegisterTile left, right;
  auto fetch = [&](int step) {
    left.fetch<X>(g.x, g.ldx, n, g.cols, step * kSide, c0);
    right.fetch(g.u, g.ldu, n, rank, step * kSide, r0);
  };
  fetch(0);
  for (int step = 0; step < steps; step++) {
    u16 *stage = shared + step % 2 * kStage;
    if (g.mask.bits)
      left.drop(g.mask, n, step * kSide, c0);
    left.lay(stage);
    right.lay(stage + kSide * kSide);
    __syncthreads();
    if (step + 1 < steps)
      fetch(step + 1);
    multiply<BF16, MNMajor, MNMajor>(sum, stage, stage + kSide * kSide, [](int) {});
  }
  each(sum, c0, r0, [&](int i, int r, float &a, float &b) {
    if (i >= g.cols)
      return;
    if (!g.turned) {
      put(g.c + (long long)i * g.ldc, r, rank, g.f * a, g.f * b, true);
      return;
    }
    if (r < rank)
      g.c[(long long)r * g.ldc + i] += g.f * a;
    if (r + 1 < rank)
      g.c[(long long)(r + 1) * g.ldc + i] += g.f * b;
  });
}

#define LORA_GRAD(kernel, DY, X)                                                                                    \
  extern "C" __global__ void __launch_bounds__(128, 2)                                                              \
      kernel(float *db, int lddb, const void *dy, int lddy, int out, const float *u, int ldu, float fb, float *da,  \
             int ldda, const void *x, int ldx, int in, const float *du, int lddu, float fa, int n, int rank,        \
             const u32 *bits, int ldb) {                                                                            \
    cudaGridDependencySynchronize();                                                                                \
    cudaTriggerProgrammaticLaunchCompletion();                                                                      \
    const int tiles = ceil_div(out, kSide), tile = blockIdx.x;                                                      \
    if (tile < tiles)                                                                                               \
      lora_gradient<DY>({db, lddb, 0, dy, lddy, out, u, ldu, fb, {}}, n, rank, tile * kSide, blockIdx.y * kSide);   \
    else                                                                                                            \
      lora_gradient<X>({da, ldda, 1, x, ldx, in, du, lddu, fa, {bits, ldb}}, n, rank, (tile - tiles) * kSide,       \
                       blockIdx.y * kSide);                                                                         \
  }
LORA_GRAD(lora_grad, F32, F32)
LORA_GRAD(lora_grad_f32_bf16, F32, BF16)
LORA_GRAD(lora_grad_f32_f16, F32, F16)
LORA_GRAD(lora_grad_bf16_bf16, BF16, BF16)
