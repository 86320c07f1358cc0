// The gradient of softmax cross-entropy by the logits, from the state that nll
// (criteria.cu) leaves of a row: z'[n, v] = softmax(z[n])[v] - (v == target[n]).
//
//   loss_half_*:  half[n, v] = top z', rounded: top puts the largest, 1, well inside
//     the type; back[n] = 1/top * scale[n] is what the product with W is to be
//     multiplied by. z, half [N, V]
//   loss_float:   z[n, v] = scale[n] z', in place
//
// Grid: N blocks of 256. Bound by memory: 6*N*V bytes, or 8.
#include "types.cuh"

struct Softmax {
  float top, share; // share: 1 / sum exp(z - top)
  MEMBER Softmax(const double *state) : top((float)state[0]), share((float)(1 / state[1])) {}
  MEMBER float operator()(float z) const { return ptx::exp2((z - top) * kLog2e) * share; }
};

template <class T> DEVICE void loss_half(u16 *half, int ldh, F2 *back, const float *z, int ldz, int V, const double *state,
                                         const int *targets, const float *scale, float top) {
  ptx::after_previous();
  ptx::release();
  const int n = ptx::bidx(), target = targets[n];
  const Softmax p(state + 3 * n);
  const float *row = z + (long long)n * ldz;
  V2 *to = (V2 *)(half + (long long)n * ldh);
  if (ptx::tid() == 0)
    back[n] = {1, scale[n] / top};
  auto value = [&](float z, int v) { return v < V ? (p(z) - (v == target ? 1 : 0)) * top : 0; };
  for (int v = 4 * ptx::tid(); v < ldh; v += 4 * 256) {
    F4 l = v < V ? ptx::load_floats(row + v) : F4{0, 0, 0, 0};
    to[v / 4] = {T::pack(value(l.x, v), value(l.y, v + 1)), T::pack(value(l.z, v + 2), value(l.w, v + 3))};
  }
}

#define LOSS_HALF(T, name)                                                                                                 \
  KERNEL(256, 1, loss_half_##name, u16 *half, int ldh, F2 *back, const float *z, int ldz, int V, const double *state,      \
         const int *targets, const float *scale, float top) {                                                              \
    loss_half<T>(half, ldh, back, z, ldz, V, state, targets, scale, top);                                                  \
  }
LOSS_HALF(BF16, bf16)
LOSS_HALF(F16, f16)

KERNEL(256, 1, loss_float, float *z, int ldz, int V, const double *state, const int *targets, const float *scale) {
  ptx::after_previous();
  ptx::release();
  const int n = ptx::bidx(), target = targets[n];
  const Softmax p(state + 3 * n);
  const float s = scale[n];
  float *row = z + (long long)n * ldz;
  for (int v = ptx::tid(); v < V; v += 256)
    row[v] = (p(row[v]) - (v == target ? 1 : 0)) * s;
}
