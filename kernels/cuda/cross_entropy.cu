// The gradient of softmax cross-entropy by the logits, from the state that nll
// (logit_metrics.cu) leaves for a row: z'[n, v] = softmax(z[n])[v] - (v == target[n]).
//
//   cross_entropy_half_*: half[n, v] = top * z', rounded. top puts the largest value, 1, well
//     inside the type; back[n] = scale[n] / top is what the product with W is multiplied by.
//     Without back half[n, v] = scale[n] * z', for a type with the range of float32.
//     z, half [N, V]
//   cross_entropy_float:  z[n, v] = scale[n] * z', in place
//
// Grid: N blocks of 256 threads. Memory-bound: 6*N*V bytes, or 8*N*V.
// Versions: one; not measured alone.
#include "types.cuh"

struct Softmax {
  float top, share; // share: 1 / sum exp(z - top)
  __device__ __forceinline__ Softmax(const double *state) : top((float)state[0]), share((float)(1 / state[1])) {}
  __device__ __forceinline__ float operator()(float z) const { return ptx::exp2((z - top) * kLog2e) * share; }
};

template <class T>
static __device__ __forceinline__ void cross_entropy_half(u16 *half, int ldh, float2 *back, const float *z, int ldz,
                                                          int V, const double *state, const int *targets,
                                                          const float *scale, float top) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const int n = blockIdx.x, target = targets[n];
  const Softmax p(state + 3 * n);
  const float *row = z + (long long)n * ldz;
  uint2 *to = (uint2 *)(half + (long long)n * ldh);
  if (threadIdx.x == 0 && back)
    back[n] = {1, scale[n] / top};
  const float factor = back ? top : scale[n];
  auto value = [&](float z, int v) { return v < V ? (p(z) - (v == target ? 1 : 0)) * factor : 0; };
  for (int v = 4 * threadIdx.x; v < ldh; v += 4 * 256) {
    float4 l = v < V ? ptx::ld_global_f4(row + v) : float4{0, 0, 0, 0};
    to[v / 4] = {T::pack(value(l.x, v), value(l.y, v + 1)), T::pack(value(l.z, v + 2), value(l.w, v + 3))};
  }
}

#define LOSS_HALF(T, name)                                                                                             \
  extern "C" __global__ void __launch_bounds__(256, 1)                                                                 \
      cross_entropy_half_##name(u16 *half, int ldh, float2 *back, const float *z, int ldz, int V, const double *state, \
                                const int *targets, const float *scale, float top) {                                   \
    cross_entropy_half<T>(half, ldh, back, z, ldz, V, state, targets, scale, top);                                     \
  }
LOSS_HALF(BF16, bf16)
LOSS_HALF(F16, f16)

extern "C" __global__ void __launch_bounds__(256, 1)
    cross_entropy_float(float *z, int ldz, int V, const double *state, const int *targets, const float *scale) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const int n = blockIdx.x, target = targets[n];
  const Softmax p(state + 3 * n);
  const float s = scale[n];
  float *row = z + (long long)n * ldz;
  for (int v = threadIdx.x; v < V; v += 256)
    row[v] = (p(row[v]) - (v == target ? 1 : 0)) * s;
}
