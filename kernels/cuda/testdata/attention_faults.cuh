// Bidirectional attention as it is, and with what orders its shared memory left out: which must
// show in its result.
#pragma once
#include "../types.cuh"

#define attention_bidirectional_64_bf16 attention_right
#define attention_bidirectional_64_f16 attention_right_f16
#define attention_bidirectional_128_bf16 attention_right_wide
#define attention_bidirectional_128_f16 attention_right_wide_f16
namespace right {
#include "../attention_bidirectional.cu"
KERNEL_ENTRY(attention_right, 128)
} // namespace right
#undef attention_bidirectional_64_bf16
#undef attention_bidirectional_64_f16
#undef attention_bidirectional_128_bf16
#undef attention_bidirectional_128_f16

// The threads do not wait for their copies.
#define attention_bidirectional_64_bf16 attention_no_wait
#define attention_bidirectional_64_f16 attention_no_wait_f16
#define attention_bidirectional_128_bf16 attention_no_wait_wide
#define attention_bidirectional_128_f16 attention_no_wait_wide_f16
namespace no_wait {
namespace ptx {
using namespace ::ptx;
template <int N> __device__ __forceinline__ void cp_async_wait() {
  if (N == 0)
    ::ptx::cp_async_wait<0>();
}
} // namespace ptx
#include "../attention_bidirectional.cu"
KERNEL_ENTRY(attention_no_wait, 128)
} // namespace no_wait
#undef attention_bidirectional_64_bf16
#undef attention_bidirectional_64_f16
#undef attention_bidirectional_128_bf16
#undef attention_bidirectional_128_f16

// The threads do not wait for each other.
#define attention_bidirectional_64_bf16 attention_no_barrier
#define attention_bidirectional_64_f16 attention_no_barrier_f16
#define attention_bidirectional_128_bf16 attention_no_barrier_wide
#define attention_bidirectional_128_f16 attention_no_barrier_wide_f16
namespace no_barrier {
inline void __syncthreads() {}
#include "../attention_bidirectional.cu"
KERNEL_ENTRY(attention_no_barrier, 128)
} // namespace no_barrier
