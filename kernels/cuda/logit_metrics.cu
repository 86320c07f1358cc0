// Running reductions of logits, chunk by chunk over the vocabulary: what NLL, KL and cosine need,
// so that [N, V] never exists in memory. The host derives the metrics from the state in float64.
//
//   nll:            state [N, 3] = top, sum exp(z - top), z[target]
//   compare_logits: state [N, 10] = top_p, sum exp(p - top_p), sum exp(p - top_p) (p - q),
//                   top_q, sum exp(q - top_q), sum pp, sum qq, sum pq, argmax p, argmax q
//
//   z, p, q [N, C] f32: logits base..base+C-1. base 0 starts anew.
//
// Grid: one block of 256 threads per row. Sums are float64, in an order that depends on C only.
// Memory-bound: 8*N*C bytes, since each row is read twice.
// Versions: one; not measured alone.
#include "block_argmax.cuh"

static __device__ __forceinline__ double exp_nonpositive(double x) {
  return ptx::exp2((float)x * kLog2e);
} // e^x, x <= 0

extern "C" __global__ void __launch_bounds__(256, 1)
    nll(double *state, const float *z, int ldz, int C, int base, const int *targets) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  double *s = state + blockIdx.x * 3, *scratch = (double *)smem;
  const float *row = z + (long long)blockIdx.x * ldz;
  Best b = row_best<8>(row, C, base);
  double old = base ? s[0] : -kInf, top = old > b.value ? old : b.value, sum = 0;
  for (int i = threadIdx.x; i < C; i += 256)
    sum += exp_nonpositive(row[i] - top);
  sum = block_sum<8>(sum, scratch);
  if (threadIdx.x == 0) {
    s[1] = base ? s[1] * exp_nonpositive(old - top) + sum : sum;
    s[0] = top;
    int t = targets[blockIdx.x] - base;
    if (t >= 0 && t < C)
      s[2] = row[t];
  }
}

extern "C" __global__ void __launch_bounds__(256, 1)
    compare_logits(double *state, const float *p, const float *q, int ldz, int C, int base) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  double *s = state + blockIdx.x * 10, *scratch = (double *)smem;
  const float *a = p + (long long)blockIdx.x * ldz, *b = q + (long long)blockIdx.x * ldz;
  Best ba = row_best<8>(a, C, base), bb = row_best<8>(b, C, base);
  double oldA = base ? s[0] : -kInf, oldB = base ? s[3] : -kInf;
  double topA = oldA > ba.value ? oldA : ba.value, topB = oldB > bb.value ? oldB : bb.value;
  double v[6] = {0, 0, 0, 0, 0, 0};
  for (int i = threadIdx.x; i < C; i += 256) {
    double x = a[i], y = b[i], e = exp_nonpositive(x - topA);
    v[0] += e, v[1] += e * (x - y), v[2] += exp_nonpositive(y - topB);
    v[3] += x * x, v[4] += y * y, v[5] += x * y;
  }
#pragma unroll
  for (int i = 0; i < 6; i++)
    v[i] = block_sum<8>(v[i], scratch);
  if (threadIdx.x == 0) {
    if (base) {
      double ra = exp_nonpositive(oldA - topA), rb = exp_nonpositive(oldB - topB);
      v[0] += s[1] * ra, v[1] += s[2] * ra, v[2] += s[4] * rb;
      v[3] += s[5], v[4] += s[6], v[5] += s[7];
    }
    // A later chunk's equal does not win.
    if (ba.value > oldA)
      s[8] = ba.index;
    if (bb.value > oldB)
      s[9] = bb.index;
    s[0] = topA, s[1] = v[0], s[2] = v[1], s[3] = topB, s[4] = v[2], s[5] = v[3], s[6] = v[4], s[7] = v[5];
  }
}
