// The next token of each row: the argmax of the logits, or a sample at a temperature.
//
//   z [N, V] f32; tokens [N]; params [N], null = all greedy; seen [slots, lds] bits;
//   best [N, gridx]; counters [N], zero before and after
//
// At temperature 0 the largest logit wins, the lowest index among equals. Else the largest
// of z/temperature + Gumbel noise wins, which is a sample of softmax(z/temperature). The
// noise comes from word pos*V + i of the row's own stream (package random), so that a sample
// depends on neither batch nor order. The repetition penalty is applied first. Rows with
// top-k, top-p or min-p need sample.cu.
//
// A logit that is not finite makes the token -1. Each row's position then moves one on where
// its parameters say so: tokens and positions are the next step's input, without the host.
// Grid: (parts, N), 256 threads; the last block of a row to end combines the parts. Bound by
// latency: 4*V bytes a row.
//
// Versions: 1. one set of sampling parameters for a whole captured graph. 2. the parameters
// and the sequence of each row are read from device memory, so that sequences join and leave
// without a new capture. Neither has been measured alone on a GPU.
#include "sampling_params.cuh"

extern "C" __global__ void __launch_bounds__(256, 1)
    argmax(int *tokens, const float *z, int ldz, int V, const SamplingParams *params, u32 *seen, int lds,
           SeqPosition *positions, Best *best, u32 *counters) {
  const int n = blockIdx.y, parts = gridDim.x;
  // The host writes parameters between steps only: they are read while the logits are made.
  SamplingParams by = greedy();
  if (params)
    by = params[n];
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const SeqPosition position = params ? positions[n] : SeqPosition{0, 0};
  const Penalty penalty = penalty_of(by, seen, lds, position.seq);
  const int lo = (int)((long long)V * blockIdx.x / parts), hi = (int)((long long)V * (blockIdx.x + 1) / parts);
  const float *row = z + (long long)n * ldz;
  const u64 first = (u64)position.pos * V;
  Best b = {-kInf, lo};
  for (int i = lo + threadIdx.x; i < hi; i += 256) {
    const float v = gumbel_max(by, penalty.apply(i, row[i]), first + i);
    if (v > b.value)
      b = {v, i};
  }
  b = block_best<8>(b, (Best *)smem);
  u32 *last = (u32 *)(smem + 64);
  if (threadIdx.x == 0) {
    best[n * parts + blockIdx.x] = b;
    ptx::fence_acq_rel_gpu();
    *last = ptx::atom_add_acq_rel(counters + n, 1) == (u32)(parts - 1);
    if (*last)
      counters[n] = 0;
  }
  __syncthreads();
  if (!*last || threadIdx.x >= 32)
    return;
  ptx::fence_acq_rel_gpu();
  b = {-kInf, 0x7fffffff};
  for (int i = threadIdx.x; i < parts; i += 32)
    b = better(b, best[n * parts + i]);
  b = warp_best(b);
  if (threadIdx.x == 0) {
    tokens[n] = b.value < kInf ? b.index : -1;
    penalty.add(tokens[n]);
    if (by.advance)
      positions[n].pos++;
  }
}
