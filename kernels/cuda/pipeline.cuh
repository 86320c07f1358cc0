// The products of decode (gemv.cuh) for compute capability 9.0, with a multistage shared-memory
// pipeline: bulk copies bring the weights and signal an mbarrier, so that loads are in flight
// without using registers, also across the end of one kernel and the start of the next.
//
// A block has eight consumer warps that multiply and two producer warps that copy. There is one
// block per SM, in less than half of its memory where x is small, so that the next kernel's block
// can start while this one ends. A stage is 1 KiB of each of 16 rows of W. The rows are 64 bytes
// further apart than that, so that the 16 bytes of lanes (g, t) of rows g and g+1 fall on different
// banks. A full barrier completes its phase when a stage's bytes have arrived, an empty barrier when
// the eight consumer warps have read them. Of a stage's 16 steps of 64 bytes, warp w takes w and
// w+8: the sum that an element of K belongs to depends on the row's length only.
//
// Weights never depend on the previous kernel. The producers fill the whole pipeline without waiting
// for that kernel's end, and prefetch some of the following weights into L2 (a short pipeline does so
// throughout). The consumers wait for the previous kernel, and then for x. The next kernel is
// triggered when the last of this one's weights have been requested: earlier it would take their
// bandwidth, later the memory would idle while sums are written and x is read. This is safe whatever
// the previous kernel has not done yet: only weights are read before cudaGridDependencySynchronize,
// no kernel of a step writes weights (other writers are waited for, see Device.Make), and nothing is
// written. A kernel ends only after the one before it, since all blocks wait; so
// cudaGridDependencySynchronize covers all earlier kernels.
//
// Bound: reading W. A stage is 16 KiB; at 3 TB/s each of 132 SMs takes one in 0.7 us.
// Versions and measurements: docs/performance/decode.md.
#pragma once
#include "gemv.cuh"

#ifdef HOPPER

constexpr int kProducerWarps = 2; // a warp's lanes start their copies one after another
constexpr int kPipelineThreads = kGemvThreads + 32 * kProducerWarps;
constexpr int kStageRows = 16;
constexpr int kChunk = 1024;           // bytes of a row in a stage
constexpr int kHalf = 64 * kGemvWarps; // of which a warp takes 64
constexpr int kChunkPitch = kChunk + 64;
constexpr int kStageBytes = kStageRows * kChunkPitch;
constexpr int kPartialBytes = kGemvWarps * kSegmentRows * 4; // bytes, whatever n
constexpr int kDeepStages = 4;                               // stages of a pipeline that keeps memory busy by itself
constexpr int kPrefetchStages = 10; // stages requested at the start; those beyond the pipeline are prefetched into L2

// ConsumerWarps are the threads that multiply.
struct ConsumerWarps {
  static __device__ __forceinline__ void sync() { ptx::named_barrier_sync<kGemvThreads>(); }
};

// Pipeline is what follows x in shared memory: parts [8, 128] f32, stages, barriers.
struct Pipeline {
  float *parts;
  u8 *stages;
  u64 *full, *empty, *staged; // staged: x is there
  int count, bytes;           // stages, and the bytes of one
  int index, round;
  __device__ __forceinline__ u8 *stage() const { return stages + index * bytes; }
  __device__ __forceinline__ void next() {
    if (++index == count)
      index = 0, round++;
  }
};
template <class E> static __device__ __forceinline__ Pipeline make_pipeline(int ld, int n, int count) {
  float *parts = partial_sums<E>(ld, n);
  u8 *stages = (u8 *)parts + kPartialBytes;
  u64 *b = (u64 *)(stages + count * kStageBytes);
  return {parts, stages, b, b + count, b + 2 * count, count, kStageBytes, 0, 0};
}

// load_weights copies rows r0..r1-1, StageRows of them at a time, Chunk bytes of each to a stage:
// each copying warp its rows of every stage, a lane for each. ld is the number of elements that are
// copied of a row. A tile's rows past r1 stay as they are, and so do their sums, which nobody reads.
// The next kernel may start when all is asked for.
template <class E, int StageRows, int Chunk, class Rows>
static __device__ __forceinline__ void load_weights(Pipeline pipe, const Rows &rows, int r0, int r1, int ld) {
  constexpr int kMine = StageRows / kProducerWarps;
  static_assert(kMine <= 32, "a lane for each row");
  const int lane = threadIdx.x % 32, mine = threadIdx.x / 32 % kProducerWarps * kMine, bytes = ld * (int)sizeof(E);
  struct Walk { // over the stages: this lane's row of a tile, nullptr where there is none, and the chunk's first byte
    const u8 *row;
    int tile, at;
  };
  auto start = [&](int tile) {
    const int r = tile + mine + lane;
    return Walk{lane < kMine && r < r1 ? (const u8 *)rows.row(r) : nullptr, tile, 0};
  };
  auto next = [&](Walk &w) {
    if ((w.at += Chunk) >= bytes)
      w = start(w.tile + StageRows);
  };
  Walk copied = start(r0), asked = copied;
  int ahead = 0; // stages before asked
  for (int i = 0; copied.tile < r1; i++, next(copied), pipe.next()) {
    if (i == pipe.count || i > pipe.count && pipe.count < kDeepStages) {
      for (; ahead < i - pipe.count + kPrefetchStages && asked.tile < r1; ahead++, next(asked))
        if (ahead >= pipe.count && asked.row)
          ptx::prefetch_l2(asked.row + asked.at, min(Chunk, bytes - asked.at));
      if (asked.tile >= r1)
        cudaTriggerProgrammaticLaunchCompletion();
    }
    const int part = min(Chunk, bytes - copied.at);
    if (pipe.round > 0)
      ptx::mbarrier_wait_parity(pipe.empty + pipe.index, pipe.round - 1 & 1);
    if (lane == 0)
      ptx::mbarrier_arrive_expect_tx(pipe.full + pipe.index, max(0, min(kMine, r1 - copied.tile - mine)) * part);
    __syncwarp();
    if (copied.row)
      ptx::cp_async_bulk_evict_first(pipe.stage() + (mine + lane) * (Chunk + 64), copied.row + copied.at, part,
                                     pipe.full + pipe.index);
  }
  cudaTriggerProgrammaticLaunchCompletion();
}

// multiply_stages waits for the previous kernel, has x put into shared memory, and multiplies those
// rows with it; out as in stream. What out reads is asked for before it is needed: the scales of the
// first rows before the wait, the rest of theirs while x comes, that of other rows while their weights come.
template <class T, class E, class X, class Out>
static __device__ __forceinline__ void multiply_stages(Pipeline pipe, int r0, int r1, int ld, int n, X x,
                                                       const Out &out) {
  using F = Format<T, E>;
  constexpr int kStep = 4 * F::kPerLane;
  const int tid = threadIdx.x, warp = tid / 32, g = tid % 32 / 4, t = tid % 4;
  const int steps = ld / kStep, segment = max(kStageRows, kSegmentRows / n & -kStageRows);
  const u16 *xg = (const u16 *)smem + g * x_pitch<E>(ld) + F::kPerLane * t + warp * kStep;
  int pair = r0 / 2 + tid / n; // of the outputs that this thread completes
  const int col = tid % n;
  auto is_mine = [&](int s0) { return 2 * pair < min(s0 + segment, r1); }; // at most 64 pairs and rows of x
  typename Out::Row row;
  typename Out::Source source;
  float2 scales = {1, 1};
  x.prefetch();
  if (is_mine(r0))
    scales = out.scales(pair);
  cudaGridDependencySynchronize();
  x.request(pipe, n, ld);
  if (is_mine(r0))
    row = out.row(col), source = out.source(row, pair);
  x.stage(pipe, n, ld);
  for (int s0 = r0; s0 < r1; s0 += segment) {
    const int s1 = min(s0 + segment, r1);
    const bool mine = is_mine(s0);
    if (s0 > r0 && mine)
      row = out.row(col), source = out.source(row, pair), scales = out.scales(pair);
    for (int r = s0; r < s1; r += kStageRows) {
      float c[2][4] = {};
      for (int k = 0; k < steps; k += kChunk / 64, pipe.next()) {
        ptx::mbarrier_wait_parity(pipe.full + pipe.index, pipe.round & 1);
        const u8 *w = pipe.stage() + g * kChunkPitch + 64 * warp + 16 * t;
        if (k + kChunk / 64 <= steps) {
          uint4 a[2], b[2];
          typename F::X y[2];
#pragma unroll
          for (int i = 0; i < 2; i++)
            a[i] = ptx::ld_shared(w + i * kHalf), b[i] = ptx::ld_shared(w + i * kHalf + 8 * kChunkPitch),
            y[i] = F::at(xg + (k + kGemvWarps * i) * kStep, g < n);
#pragma unroll
          for (int i = 0; i < 2; i++)
            F::multiply(c[i], a[i], b[i], y[i]);
        } else {
#pragma unroll
          for (int i = 0; i < 2; i++)
            if (k + warp + kGemvWarps * i < steps)
              F::multiply(c[i], ptx::ld_shared(w + i * kHalf), ptx::ld_shared(w + i * kHalf + 8 * kChunkPitch),
                          F::at(xg + (k + kGemvWarps * i) * kStep, g < n));
        }
        __syncwarp();
        if (tid % 32 == 0)
          ptx::mbarrier_arrive(pipe.empty + pipe.index);
      }
      float *to = pipe.parts + (warp * segment + r - s0 + g) * n + 2 * t;
      if (2 * t < n)
        to[0] = c[0][0] + c[1][0], to[8 * n] = c[0][2] + c[1][2];
      if (2 * t + 1 < n)
        to[1] = c[0][1] + c[1][1], to[8 * n + 1] = c[0][3] + c[1][3];
    }
    ConsumerWarps::sync();
    if (mine) {
      const float *from = pipe.parts + (2 * pair - s0) * n + col;
      float a = 0, b = 0;
#pragma unroll
      for (int w = 0; w < kGemvWarps; w++) {
        a += from[w * segment * n];
        b += from[w * segment * n + n];
      }
      out.put(row, pair, a, b, scales, source);
    }
    ConsumerWarps::sync();
    pair += segment / 2;
  }
}

// request_x_half starts the copies of n rows as they are, and store_x_tails writes zeros up to ld and
// waits for the copies; the rows' tails up to ldx are zero already.
template <class E>
static __device__ __forceinline__ void request_x_half(const Pipeline &pipe, const u16 *x, int ldx, int n, int ld) {
  const int all = min(ldx, ld);
  if (threadIdx.x == 0) {
    ptx::mbarrier_arrive_expect_tx(pipe.staged, 2 * n * all);
    for (int i = 0; i < n; i++)
      ptx::cp_async_bulk((u16 *)smem + i * x_pitch<E>(ld), x + (long long)i * ldx, 2 * all, pipe.staged);
  }
}
template <class E> static __device__ __forceinline__ void store_x_tails(const Pipeline &pipe, int ldx, int n, int ld) {
  const int all = min(ldx, ld), rest = (ld - all) / 8;
  u16 *to = (u16 *)smem;
  for (int i = threadIdx.x; i < n * rest; i += kGemvThreads)
    *(uint4 *)(to + i / rest * x_pitch<E>(ld) + all + i % rest * 8) = {0, 0, 0, 0};
  ptx::mbarrier_wait_parity(pipe.staged, 0);
  ConsumerWarps::sync();
}

// NormalizedInput is the norm of rows (gemv.cuh).
template <class T, class E> struct NormalizedInput {
  Norm<T, E> norm;
  __device__ __forceinline__ void prefetch() { norm.prefetch(); }
  __device__ __forceinline__ void request(const Pipeline &, int, int) { norm.request(); }
  __device__ __forceinline__ void stage(const Pipeline &, int n, int ld) const {
    norm.template stage<ConsumerWarps>(n, ld);
  }
};

// gemv_pipelined multiplies 2*pairs rows. x puts its n rows into shared memory: x.prefetch()
// reads what is a weight, x.request(pipe, n, ld) begins to read the rest, and x.stage(pipe, n, ld) puts
// them there.
template <class T, class E, class Rows, class X, class Out>
static __device__ __forceinline__ void gemv_pipelined(const Rows &rows, int pairs, int ld, int n, int count, X x,
                                                      const Out &out) {
  Pipeline pipe = make_pipeline<E>(ld, n, count);
  const int r0 = 2 * (int)((long long)pairs * blockIdx.x / gridDim.x),
            r1 = 2 * (int)((long long)pairs * (blockIdx.x + 1) / gridDim.x);
  if (threadIdx.x == 0) {
    for (int i = 0; i < count; i++) {
      ptx::mbarrier_init(pipe.full + i, kProducerWarps);
      ptx::mbarrier_init(pipe.empty + i, kGemvWarps);
    }
    ptx::mbarrier_init(pipe.staged, 1);
    ptx::fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x >= kGemvThreads) {
    load_weights<E, kStageRows, kChunk>(pipe, rows, r0, r1, ld);
  } else {
    multiply_stages<T, E>(pipe, r0, r1, ld, n, x, out);
  }
}
#endif
