// The next token of each row, sampled with top-k, top-p and min-p, each row by its own
// parameters.
//
//   z [N, V] f32; tokens [N]; params [N]; seen [slots, lds] bits
//
// Also for low temperatures, at which argmax.cu's v/temperature is too coarse. Of the tokens
// in order of their logits, the lower index first among equals, these are kept: the first k;
// of those the fewest that have the share p of their probability; of those the ones with at
// least min_p of the first one's. The largest (z - top)/temperature + Gumbel noise among them
// wins, with the noise of argmax.cu. A row without filters has the token that argmax.cu gives.
//
// Nothing is sorted. A histogram of the distance from the top says where the cut
// lies, about; the ids before it are gathered in shared memory, and the cut is found
// among them digit by digit. Where they are too many, the digits are counted over
// all logits. Probabilities are added as integers, 2^-40 of the first one's: in any
// order the same.
// Grid: one block of 512 a row. Bound by latency: the logits are read three times
// (of many candidates up to fourteen), 4*V bytes by one SM.
//
// Versions: those of argmax.cu. Neither has been measured alone on a GPU.
#include "sampling_params.cuh"

constexpr int kSampleThreads = 512;
constexpr int kBins = 2048;
constexpr int kHeld = 2048; // candidates in shared memory
constexpr float kFine = 64; // bins a nat of distance

// Where a running sum of bins reached its target.
struct Found {
  int bin;
  u32 count; // of the bin
  u64 source;
};

// Candidates is the shared memory.
struct Candidates {
  u64 mass[kBins], warps[kSampleThreads / 32];
  u64 held[kHeld]; // ranks
  u32 count[kBins];
  u32 n;
  Found found;
  Best best[kSampleThreads / 32];
};

static_assert(sizeof(Candidates) <= 48 << 10, "runtime/device/cuda: sampleShared");

static __device__ __forceinline__ u64 shfl_xor(u64 v, int m) {
  return (u64)__shfl_xor_sync(0xffffffff, (u32)(v >> 32), m) << 32 | __shfl_xor_sync(0xffffffff, (u32)v, m);
}

static __device__ __forceinline__ void clear_bins(Candidates &s) {
  for (int i = threadIdx.x; i < kBins; i += kSampleThreads)
    s.mass[i] = 0, s.count[i] = 0;
  __syncthreads();
}

// total adds over the block.
static __device__ __forceinline__ u64 total(Candidates &s, u64 v) {
#pragma unroll
  for (int m = 16; m > 0; m >>= 1)
    v += shfl_xor(v, m);
  if (threadIdx.x % 32 == 0)
    s.warps[threadIdx.x / 32] = v;
  __syncthreads();
  v = 0;
  for (int w = 0; w < kSampleThreads / 32; w++)
    v += s.warps[w];
  __syncthreads();
  return v;
}

// find gives the first bin up to which masses, or counts, add to target or more; the
// last bin where none does.
static __device__ __forceinline__ Found find(Candidates &s, bool by_mass, u64 target) {
  const int tid = threadIdx.x, lane = tid % 32;
  constexpr int kOwn = kBins / kSampleThreads; // bins a thread
  u64 own[kOwn], sum = 0, source = 0;
#pragma unroll
  for (int i = 0; i < kOwn; i++) {
    own[i] = by_mass ? s.mass[kOwn * tid + i] : s.count[kOwn * tid + i];
    sum += own[i];
  }
#pragma unroll
  for (int m = 1; m < 32; m <<= 1) { // lanes of the upper half of each group add the lower
    u64 other = shfl_xor(sum, m);
    if (lane & m)
      source += other;
    sum += other;
  }
  if (lane == 0)
    s.warps[tid / 32] = sum;
  if (tid == 0)
    s.found = {kBins - 1, s.count[kBins - 1], 0};
  __syncthreads();
  for (int w = 0; w < tid / 32; w++)
    source += s.warps[w];
#pragma unroll
  for (int i = 0; i < kOwn; i++) {
    if (source < target && source + own[i] >= target)
      s.found = {kOwn * tid + i, s.count[kOwn * tid + i], source};
    source += own[i];
  }
  __syncthreads();
  Found f = s.found;
  __syncthreads();
  return f;
}

extern "C" __global__ void __launch_bounds__(512, 1)
    sample(int *tokens, const float *z, int ldz, int V, const SamplingParams *params, u32 *seen, int lds,
           SeqPosition *positions) {
  const int n = blockIdx.x, tid = threadIdx.x;
  const SamplingParams by = params[n];
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const SeqPosition position = positions[n];
  const Penalty penalty = penalty_of(by, seen, lds, position.seq);
  Candidates &s = *(Candidates *)smem;
  const float *row = z + (long long)n * ldz; // ldz is a multiple of 32
  const u64 first = (u64)position.pos * V;
  auto put = [&](int token) {
    if (tid == 0) {
      tokens[n] = token;
      penalty.add(token);
      if (by.advance)
        positions[n].pos++;
    }
  };
  Best b = {-kInf, 0};
  if (!by.filters) {
    for (int i = tid; i < V; i += kSampleThreads)
      b = better(b, {gumbel_max(by, penalty.apply(i, row[i]), first + i), i});
    b = block_best<kSampleThreads / 32>(b, s.best);
    put(b.value < kInf ? b.index : -1);
    return;
  }
  const float temperature = by.temperature;
  const bool some = by.top_k > 0, share = by.top_p > 0;

  // A rank is a logit and its token in one number, the largest logit's first.
  auto rank = [](float v, int i) { return (u64)ordered(v) << 32 | (u32)~i; };
  auto logit = [](u64 r) { return plain((u32)(r >> 32)); };
  auto logits = [&](auto f) {
    for (int c = tid; 4 * c < V; c += kSampleThreads) {
      float4 v = ptx::ld_global_f4(row + 4 * c);
      float q[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
      for (int j = 0; j < 4; j++)
        if (4 * c + j < V)
          f(penalty.apply(4 * c + j, q[j]), 4 * c + j);
    }
  };
  logits([&](float v, int i) { b = better(b, {v - v != 0 ? kInf : v, i}); });
  b = block_best<kSampleThreads / 32>(b, s.best);
  const float top = b.value;
  if (top == kInf) {
    put(-1);
    return;
  }
  auto weight = [&](float v) { return ptx::exp2((v - top) / temperature * kLog2e); };
  auto mass = [&](float v) { return (u64)(weight(v) * 1099511627776.0f); };

  auto part = [&](u64 m) { // at least the first id's
    u64 p = (u64)((double)m * by.top_p);
    return p > 0 ? p : 1;
  };

  clear_bins(s);
  bool held = false;
  u64 all = 0, cut = 0; // the total mass; ranks from cut on are kept
  if (some || share) {
    auto bin = [&](float v) { return (int)min((top - v) / temperature * kFine, kBins - 1.0f); };
    u64 sum = 0;
    logits([&](float v, int) {
      ptx::atom_add_shared(s.count + bin(v), 1);
      ptx::atom_add_shared(s.mass + bin(v), mass(v));
      sum += mass(v);
    });
    all = total(s, sum);
    if (tid == 0)
      s.n = 0;
    Found f = some ? find(s, false, by.top_k) : find(s, true, part(all));
    u32 in = 0;
    for (int i = tid; i <= f.bin; i += kSampleThreads)
      in += s.count[i];
    held = total(s, in) <= kHeld;
    if (held) {
      logits([&](float v, int i) {
        if (bin(v) <= f.bin)
          s.held[ptx::atom_add_shared(&s.n, 1)] = rank(v, i);
      });
      __syncthreads();
    }
  }
  auto each = [&](auto f) {
    if (held)
      for (int i = tid; i < (int)s.n; i += kSampleThreads)
        f(s.held[i]);
    else
      logits([&](float v, int i) { f(rank(v, i)); });
  };
  // The cut is where the first ranks add to target, found from the highest digit on.
  auto cut_at = [&](bool by_mass, u64 target) {
    const u64 floor = cut;
    u64 prefix = 0;
    int left = 64; // bits below the prefix
#pragma unroll 1
    for (int level = 0; level < 6; level++) {
      const int w = level == 2 || level == 3 ? 10 : 11; // 32 bits of the logit, 32 of the id
      clear_bins(s);
      each([&](u64 r) {
        if (r >= floor && (left == 64 || r >> left == prefix)) {
          int i = (1 << w) - 1 - (int)(r >> (left - w) & ((1 << w) - 1));
          ptx::atom_add_shared(s.count + i, 1);
          if (by_mass)
            ptx::atom_add_shared(s.mass + i, mass(logit(r)));
        }
      });
      __syncthreads();
      Found f = find(s, by_mass, target);
      left -= w;
      prefix = prefix << w | (u64)((1 << w) - 1 - f.bin);
      target -= f.source;
      if (f.count == 1)
        break;
    }
    const u64 at = prefix << left;
    cut = at > floor ? at : floor;
  };
  if (some) {
    cut_at(false, by.top_k);
    u64 sum = 0;
    each([&](u64 r) { sum += r >= cut ? mass(logit(r)) : 0; });
    all = total(s, sum);
  }
  if (share)
    cut_at(true, part(all));

  b = {-kInf, 0};
  each([&](u64 r) {
    float v = logit(r);
    int i = (int)~(u32)r;
    if (r >= cut && weight(v) >= by.min_p)
      b = better(b, {max((v - top) / temperature, -3e38f) + gumbel(by.stream, first + i), i});
  });
  b = block_best<kSampleThreads / 32>(b, s.best);
  put(b.index);
}
