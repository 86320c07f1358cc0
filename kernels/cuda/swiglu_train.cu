// SwiGLU of training and its gradient, with s(z) = 1 / (1 + exp(-z)).
//
//   swiglu_forward:  m = g s(g) u
//   swiglu_backward: u' = m' g s(g); g' = m' u s(g) (1 + g (1 - s(g))); g' may be m'
//
//   all [N, I] f32; *_half_*: m, and g' and u', of the 16 bits that products take
//
// Grid: one block of 256 threads per row. Memory-bound: 12 and 20 bytes per element, 10 and 16 of *_half_*.
// Versions: one; not measured alone.
#include "rows.cuh"

static __device__ __forceinline__ float sigmoid(float z) { return 1 / (1 + ptx::exp2(-z * kLog2e)); }

template <class M>
static __device__ __forceinline__ void swiglu_rows(void *m, int ldm, const float *g, int ldg, const float *u, int ldu,
                                                   int I) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const long long row = blockIdx.x;
  for (int k = 4 * threadIdx.x; k < I; k += 4 * 256) {
    float4 z = ptx::ld_global_f4(g + row * ldg + k), v = ptx::ld_global_f4(u + row * ldu + k);
    Row<M>::put(Row<M>::at(m, row, ldm), k,
                {z.x * sigmoid(z.x) * v.x, z.y * sigmoid(z.y) * v.y, z.z * sigmoid(z.z) * v.z,
                 z.w * sigmoid(z.w) * v.w});
  }
}

#define SWIGLU_FORWARD(kernel, M)                                                               \
  extern "C" __global__ void __launch_bounds__(256, 1)                                          \
      kernel(void *m, int ldm, const float *g, int ldg, const float *u, int ldu, int I) {       \
    swiglu_rows<M>(m, ldm, g, ldg, u, ldu, I);                                               \
  }
SWIGLU_FORWARD(swiglu_forward, F32)
SWIGLU_FORWARD(swiglu_forward_half_bf16, BF16)
SWIGLU_FORWARD(swiglu_forward_half_f16, F16)

static __device__ __forceinline__ void swiglu_backward_one(float &dg, float &du, float dm, float z, float u) {
  float s = sigmoid(z);
  du = dm * z * s;
  dg = dm * u * s * (1 + z * (1 - s));
}

template <class D>
static __device__ __forceinline__ void swiglu_gradients(void *dg, int lddg, void *du, int lddu, const float *dm,
                                                        int lddm, const float *g, int ldg, const float *u, int ldu,
                                                        int I) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  const long long row = blockIdx.x;
  for (int k = 4 * threadIdx.x; k < I; k += 4 * 256) {
    float4 d = ptx::ld_global_f4(dm + row * lddm + k), z = ptx::ld_global_f4(g + row * ldg + k),
           v = ptx::ld_global_f4(u + row * ldu + k), a, b;
    swiglu_backward_one(a.x, b.x, d.x, z.x, v.x), swiglu_backward_one(a.y, b.y, d.y, z.y, v.y);
    swiglu_backward_one(a.z, b.z, d.z, z.z, v.z), swiglu_backward_one(a.w, b.w, d.w, z.w, v.w);
    Row<D>::put(Row<D>::at(dg, row, lddg), k, a);
    Row<D>::put(Row<D>::at(du, row, lddu), k, b);
  }
}

#define SWIGLU_BACKWARD(kernel, D)                                                                                    \
  extern "C" __global__ void __launch_bounds__(256, 1)                                                                \
      kernel(void *dg, int lddg, void *du, int lddu, const float *dm, int lddm, const float *g, int ldg,              \
             const float *u, int ldu, int I) {                                                                        \
    swiglu_gradients<D>(dg, lddg, du, lddu, dm, lddm, g, ldg, u, ldu, I);                                              \
  }
SWIGLU_BACKWARD(swiglu_backward, F32)
SWIGLU_BACKWARD(swiglu_backward_half_bf16, BF16)
