// x[n] = table[tokens[n]], and the gradient of the table.
//
//   x [N, D] f32, pitch ldx; table [V, D], pitch ld
//
// Grid: N blocks of 256 threads. Memory-bound: 6*N*D bytes, or 8*N*D from a float32 table.
// Versions: one; not measured alone.
#include "rows.cuh"

template <class T>
static __device__ __forceinline__ void embedding(float *x, int ldx, const void *table, int ld, const int *ids, int D) {
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  int id = ids[blockIdx.x];
  const void *from = Row<T>::at(table, id < 0 ? 0 : id, ld); // -1: the step before chose none
  float *to = x + (long long)blockIdx.x * ldx;
  for (int k = 4 * threadIdx.x; k < D; k += 4 * 256)
    *(float4 *)(to + k) = Row<T>::four(from, k);
}

#define EMBEDDING(T, name)                                                                    \
  extern "C" __global__ void __launch_bounds__(256, 1)                                        \
      embedding_##name(float *x, int ldx, const void *table, int ld, const int *ids, int D) { \
    embedding<T>(x, ldx, table, ld, ids, D);                                                  \
  }
EMBEDDING(BF16, bf16)
EMBEDDING(F16, f16)
EMBEDDING(F32, f32)

// embedding_backward: table'[ids[n]] += x'[n], in the order of n.
//   list: the rows that have the same id, ids ascending, each id's rows in order;
//   from[i]..from[i+1]-1 are those of the i-th id
//
// Grid: a block of 256 for each id that occurs. Bound by memory.
extern "C" __global__ void __launch_bounds__(256, 1)
    embedding_backward(float *dtable, int ld, const float *dx, int ldx, const int *ids, const int *list,
                       const int *from, int D) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  int first = from[blockIdx.x], end = from[blockIdx.x + 1];
  float *to = dtable + (long long)ids[list[first]] * ld;
  for (int k = 4 * threadIdx.x; k < D; k += 4 * 256) {
    float4 sum = ptx::ld_global_f4(to + k);
    for (int i = first; i < end; i++) {
      float4 v = ptx::ld_global_f4(dx + (long long)list[i] * ldx + k);
      sum = {sum.x + v.x, sum.y + v.y, sum.z + v.z, sum.w + v.w};
    }
    *(float4 *)(to + k) = sum;
  }
}

// embedding_i8: x[n] = scale * row, of a table of 8 bits whose scales follow its V rows.
extern "C" __global__ void __launch_bounds__(256, 1)
    embedding_i8(float *x, int ldx, const i8 *table, int ld, const int *ids, int D, int V) {
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  int id = ids[blockIdx.x];
  id = id < 0 ? 0 : id;
  const i8 *from = table + (long long)id * ld;
  const float scale = ((const float *)(table + (long long)V * ld))[id];
  float *to = x + (long long)blockIdx.x * ldx;
  for (int k = threadIdx.x; k < D; k += 256)
    to[k] = from[interleaved_column(k)] * scale;
}
