// The products of decode (gemv.cuh) for compute capability 9.0 with up to 64 rows of x: a pipeline
// as in pipeline.cuh, in which the loop over K is the outer one. Where x stays in shared memory
// (pipeline.cuh), many or long rows of it leave no room for stages of weights, and what does not
// fit costs another pass over the weights. Here a stage has 512 bytes of each of 32 rows of W and
// the same columns of every row of x, so that the weights are read once for any batch and any
// length of rows. The sums of 32 rows of W by all rows of x stay in registers.
//
// Two producer warps copy weights, a third one copies x. The weights are copied before the previous
// kernel has ended, x after that. Both signal the stage's full barrier.
//
// The order of every sum is that of pipeline.cuh: warp w takes steps w and w+8 of every 16 steps of
// 64 bytes, two sums for the two, then their sum, then the warps in order. So the batch that a
// sequence is in does not change its bits.
//
// A block reads x once for 32 rows of W, from L2: rows / 32 times the bytes of the weights.
// Tensor cores (mma.sync) do the products at any batch. 64 rows of x are 2 * 64 flops for each
// element of W, 192 TFLOP/s at 3 TB/s, so that reading W is the bound up to 64 rows.
//
// 64 rows of x are 128 sums a thread. The producers, a whole warpgroup therefore, give registers to
// the consumers (setmaxnreg). Versions: one; not measured.
#pragma once
#include "pipeline.cuh"

#ifdef HOPPER

constexpr int kBatchThreads = kPipelineThreads + 64; // the third producer warp copies x; the fourth does nothing
constexpr int kBatchStageRows = 32;                  // rows of W in a stage
constexpr int kBatchChunk = kHalf;                   // bytes of each: a step for every warp
constexpr int kBatchChunkPitch = kBatchChunk + 64;
constexpr int kBatchWeightBytes = kBatchStageRows * kBatchChunkPitch;
constexpr int kBatchColumns = 8;                       // rows of x whose parts are added at a time
constexpr int kBatchPartPitch = kBatchStageRows + 4;   // floats; the columns of a warp fall on different banks
constexpr int kBatchPartWarp = kBatchColumns * kBatchPartPitch;
constexpr int kBatchPartialBytes = kGemvWarps * kBatchPartWarp * 4;

// BatchStage has the sizes of a stage with Rows rows of x, which follow those of W.
template <class E, int Rows> struct BatchStage {
  static constexpr int kElements = kBatchChunk / (int)sizeof(E); // of K
  static constexpr int kXPitch = kElements + Format<BF16, E>::kPitchPadding;
  static constexpr int kBytes = kBatchWeightBytes + Rows * kXPitch * 2;
};

// EACH_BATCH makes a kernel for each number of rows of x, type and width of weights: M(type,
// weights, their name, rows, blocks an SM).
#define EACH_BATCH_FORMAT(M, rows, blocks) \
  M(BF16, u16, bf16, rows, blocks)         \
  M(F16, u16, f16, rows, blocks)           \
  M(BF16, i8, i8_bf16, rows, blocks)       \
  M(F16, i8, i8_f16, rows, blocks)
#define EACH_BATCH(M)         \
  EACH_BATCH_FORMAT(M, 8, 2)  \
  EACH_BATCH_FORMAT(M, 16, 1) \
  EACH_BATCH_FORMAT(M, 32, 1) \
  EACH_BATCH_FORMAT(M, 64, 1)

// load_x_slices copies the columns of a stage of all n rows of x, once for every 32 rows of W.
template <class E, int Rows>
static __device__ __forceinline__ void load_x_slices(Pipeline pipe, const u16 *x, int ldx, int n, int r0, int r1,
                                                     int K) {
  using S = BatchStage<E, Rows>;
  const int lane = threadIdx.x % 32;
  for (int r = r0; r < r1; r += kBatchStageRows)
    for (int k = 0; k < K; k += S::kElements, pipe.next()) {
      const int bytes = 2 * min(S::kElements, K - k);
      if (pipe.round > 0)
        ptx::mbarrier_wait_parity(pipe.empty + pipe.index, pipe.round - 1 & 1);
      if (lane == 0)
        ptx::mbarrier_arrive_expect_tx(pipe.full + pipe.index, n * bytes);
      __syncwarp();
      u16 *to = (u16 *)(pipe.stage() + kBatchWeightBytes);
#pragma unroll
      for (int i = 0; i < Rows; i += 32)
        if (lane + i < n)
          ptx::cp_async_bulk(to + (lane + i) * S::kXPitch, x + (long long)(lane + i) * ldx + k, bytes,
                             pipe.full + pipe.index);
    }
}

// multiply_slices multiplies rows r0..r1-1 of W with n rows of x; out as in multiply_stages.
template <class T, class E, int Rows, class Out>
static __device__ __forceinline__ void multiply_slices(Pipeline pipe, int r0, int r1, int K, int n, const Out &out) {
  using F = Format<T, E>;
  using S = BatchStage<E, Rows>;
  constexpr int kStep = 4 * F::kPerLane, kTiles = Rows / 8;
  const int tid = threadIdx.x, warp = tid / 32, g = tid % 32 / 4, t = tid % 4, steps = K / kStep;
  for (int s0 = r0; s0 < r1; s0 += kBatchStageRows) {
    // The pair and, of every eight, the row of x whose outputs this thread completes.
    int pair = 0, col = 0;
    bool mine = false;
    typename Out::Row row = {};
    typename Out::Source source = {};
    float2 scales = {1, 1};
    auto prefetch = [&](int tid) {
      pair = s0 / 2 + tid % 16, col = tid / 16, mine = tid < 16 * kBatchColumns && 2 * pair < r1;
      if (mine)
        scales = out.scales(pair);
      if (mine && col < n)
        row = out.row(col), source = out.source(row, pair);
    };
    if (Rows < 64) // else the sums leave no registers for it
      prefetch(tid);
    float c[2][2][kTiles][4] = {}; // of two steps, of two tiles of 16 rows of W, of eight rows of x each
    for (int k = 0; k < steps; k += 2 * kGemvWarps)
#pragma unroll
      for (int i = 0; i < 2; i++)
        if (k + kGemvWarps * i < steps) {
          ptx::mbarrier_wait_parity(pipe.full + pipe.index, pipe.round & 1);
          if (k + kGemvWarps * i + warp < steps) {
            const u8 *w = pipe.stage() + g * kBatchChunkPitch + 64 * warp + 16 * t;
            const u16 *x =
                (const u16 *)(pipe.stage() + kBatchWeightBytes) + g * S::kXPitch + warp * kStep + F::kPerLane * t;
            uint4 a[2], b[2];
#pragma unroll
            for (int j = 0; j < 2; j++)
              a[j] = ptx::ld_shared(w + 16 * j * kBatchChunkPitch),
              b[j] = ptx::ld_shared(w + (16 * j + 8) * kBatchChunkPitch);
#pragma unroll
            for (int piece = 0; piece < F::kPieces; piece++)
#pragma unroll
              for (int m = 0; m < kTiles; m++) { // what lies past row n of x ends in sums that nobody reads
                const uint4 y = ptx::ld_shared(x + 8 * m * S::kXPitch + 8 * piece);
#pragma unroll
                for (int j = 0; j < 2; j++)
                  F::multiply_piece(c[i][j][m], a[j], b[j], y, piece);
              }
          }
          __syncwarp();
          if (tid % 32 == 0)
            ptx::mbarrier_arrive(pipe.empty + pipe.index);
          pipe.next();
        }
    if (Rows == 64)
      prefetch(ptx::opaque(tid));
#pragma unroll
    for (int m = 0; m < kTiles; m++) {
      if (m > 0 && kBatchColumns * m >= n)
        break;
      float *to = pipe.parts + warp * kBatchPartWarp + 2 * t * kBatchPartPitch + g;
#pragma unroll
      for (int j = 0; j < 2; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
          to[e % 2 * kBatchPartPitch + 16 * j + e / 2 * 8] = c[0][j][m][e] + c[1][j][m][e];
      ConsumerWarps::sync();
      const int at = kBatchColumns * m + col, next = at + kBatchColumns;
      if (mine && at < n) {
        const float *from = pipe.parts + col * kBatchPartPitch + 2 * pair - s0;
        float a = 0, b = 0;
#pragma unroll
        for (int w = 0; w < kGemvWarps; w++) {
          const float2 part = *(const float2 *)(from + w * kBatchPartWarp);
          a += part.x, b += part.y;
        }
        out.put(row, pair, a, b, scales, source);
      }
      if (m + 1 < kTiles && mine && next < n)
        row = out.row(next), source = out.source(row, pair);
      ConsumerWarps::sync();
    }
  }
}

// gemv_batch multiplies 2*pairs rows of W with n <= Rows rows of x, 16-bit [n, ldx] with zeros in
// their tails; stages is the number that shared memory has.
template <class T, class E, int Rows, class W, class Out>
static __device__ __forceinline__ void gemv_batch(const u16 *x, int ldx, const W &rows, int pairs, int ld, int n,
                                                  int stages, const Out &out) {
  float *parts = (float *)smem;
  u8 *data = smem + kBatchPartialBytes;
  u64 *barriers = (u64 *)(data + stages * BatchStage<E, Rows>::kBytes);
  Pipeline pipe = {parts, data, barriers, barriers + stages, nullptr, stages, BatchStage<E, Rows>::kBytes, 0, 0};
  const int K = min(ld, ldx); // past one of them there are zeros
  // The block's rows begin at first(b). Every warp finds them for itself: before the warps part,
  // producers have too few registers to keep them.
  auto first = [&](u32 b) { return 2 * (int)((long long)pairs * ptx::opaque(b) / gridDim.x); };
  if (threadIdx.x == 0) {
    for (int i = 0; i < stages; i++) {
      ptx::mbarrier_init(pipe.full + i, kProducerWarps + 1);
      ptx::mbarrier_init(pipe.empty + i, kGemvWarps);
    }
    ptx::fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x >= kGemvThreads) {
    if (Rows == 64)
      ptx::setmaxnreg_dec<40>();
    const int warp = (threadIdx.x - kGemvThreads) / 32;
    if (warp < kProducerWarps) {
      const int r0 = first(blockIdx.x), r1 = first(blockIdx.x + 1);
      load_weights<E, kBatchStageRows, kBatchChunk>(pipe, rows, r0, r1, K);
    } else if (warp == kProducerWarps) {
      cudaGridDependencySynchronize();
      const int r0 = first(blockIdx.x), r1 = first(blockIdx.x + 1);
      load_x_slices<E, Rows>(pipe, x, ldx, n, r0, r1, K);
    }
  } else {
    if (Rows == 64)
      ptx::setmaxnreg_inc<232>();
    cudaGridDependencySynchronize();
    const int r0 = first(blockIdx.x), r1 = first(blockIdx.x + 1);
    multiply_slices<T, E, Rows>(pipe, r0, r1, K, n, out);
  }
}
#endif
