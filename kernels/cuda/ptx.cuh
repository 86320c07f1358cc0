// CUDA's keywords and everything that C++ has no word for: thread indices, barriers, warp shuffles,
// asynchronous copies, tensor-core products. Kernels call these functions and contain no assembly;
// the host emulation gives the same functions other bodies.
// PTX ISA sections: 9.7.9 (data movement), 9.7.13 (barriers), 9.7.14 (mma).
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// Accesses of 16 and 8 bytes.
struct alignas(16) uint4 {
  u32 x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  u32 x, y;
};
struct alignas(8) float2 {
  float x, y;
};

// TensorMap says where a tensor of three dimensions lies and which TMA tiles of it are
// copied; the driver encodes it, and a kernel takes it by value, before its other
// parameters.
struct alignas(64) TensorMap {
  u64 opaque[16];
};

#ifdef CUEMU
#define HOPPER
#include "../emu/emu.h"
#include "../emu/hopper.h"
#else

// What nvcc's headers define. The kernels are compiled without a CUDA toolkit.
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))

// The members of threadIdx, blockIdx and gridDim are signed here: index arithmetic in the
// kernels is signed throughout. Blocks have one dimension.
namespace {
struct ThreadIndex {
  __declspec(property(get = get_x)) int x;
  static __device__ __forceinline__ int get_x() { return __nvvm_read_ptx_sreg_tid_x(); }
};
struct BlockIndex {
  __declspec(property(get = get_x)) int x;
  __declspec(property(get = get_y)) int y;
  __declspec(property(get = get_z)) int z;
  static __device__ __forceinline__ int get_x() { return __nvvm_read_ptx_sreg_ctaid_x(); }
  static __device__ __forceinline__ int get_y() { return __nvvm_read_ptx_sreg_ctaid_y(); }
  static __device__ __forceinline__ int get_z() { return __nvvm_read_ptx_sreg_ctaid_z(); }
};
struct GridDimensions {
  __declspec(property(get = get_x)) int x;
  __declspec(property(get = get_y)) int y;
  static __device__ __forceinline__ int get_x() { return __nvvm_read_ptx_sreg_nctaid_x(); }
  static __device__ __forceinline__ int get_y() { return __nvvm_read_ptx_sreg_nctaid_y(); }
};
} // namespace
static constexpr ThreadIndex threadIdx{};
static constexpr BlockIndex blockIdx{};
static constexpr GridDimensions gridDim{};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define HOPPER
#define SHARED_ALIGN 1024 // the swizzle of a box repeats after so many bytes
// MAP is where a kernel's parameter of an index, a tensor map, lies. The address of
// the C++ variable would be that of a copy in local memory, which the TMA copies
// do not take.
#define TENSOR_MAP_PARAM(kernel, index, variable) TENSOR_MAP_PARAM_(kernel, index)
#define TENSOR_MAP_PARAM_(kernel, index)                                                             \
  ({                                                                                                 \
    u64 at;                                                                                          \
    asm("{.reg .b64 t; mov.b64 t, " #kernel "_param_" #index "; cvta.param.u64 %0, t;}" : "=l"(at)); \
    (const TensorMap *)at;                                                                           \
  })
#else
#define SHARED_ALIGN 128
#endif

// smem is the block's dynamic shared memory. The kernels use no static shared memory.
extern __shared__ __attribute__((aligned(SHARED_ALIGN))) u8 smem[];

// __syncwarp is a barrier of a warp's 32 lanes.
static __device__ __forceinline__ void __syncwarp() { asm volatile("bar.warp.sync 0xffffffff;" ::: "memory"); }

// Warp shuffles. All 32 lanes take part: the mask is always 0xffffffff.
static __device__ __forceinline__ u32 __shfl_xor_sync(u32, u32 v, int mask) {
  u32 r;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, 0xffffffff;" : "=r"(r) : "r"(v), "r"(mask));
  return r;
}
static __device__ __forceinline__ float __shfl_xor_sync(u32 lanes, float v, int mask) {
  return __builtin_bit_cast(float, __shfl_xor_sync(lanes, __builtin_bit_cast(u32, v), mask));
}
static __device__ __forceinline__ double __shfl_xor_sync(u32 lanes, double v, int mask) {
  u64 b = __builtin_bit_cast(u64, v);
  return __builtin_bit_cast(double, (u64)__shfl_xor_sync(lanes, (u32)b, mask) |
                                        (u64)__shfl_xor_sync(lanes, (u32)(b >> 32), mask) << 32);
}
// __shfl_sync returns the value of another lane.
static __device__ __forceinline__ float __shfl_sync(u32, float v, int lane) {
  float r;
  asm volatile("shfl.sync.idx.b32 %0, %1, %2, 31, 0xffffffff;" : "=f"(r) : "f"(v), "r"(lane));
  return r;
}
static __device__ __forceinline__ int __shfl_sync(u32, int v, int lane) {
  int r;
  asm volatile("shfl.sync.idx.b32 %0, %1, %2, 31, 0xffffffff;" : "=r"(r) : "r"(v), "r"(lane));
  return r;
}

// cudaGridDependencySynchronize waits until the previous kernel of the stream has ended
// and its writes are visible. cudaTriggerProgrammaticLaunchCompletion lets the next kernel
// start when all blocks have called it or ended. Both do nothing before sm_90, where
// launches do not overlap. Every block of every kernel waits, so a kernel ends only after
// the one before it, however early the next one was triggered.
static __device__ __forceinline__ void cudaGridDependencySynchronize() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
static __device__ __forceinline__ void cudaTriggerProgrammaticLaunchCompletion() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

namespace ptx {

static __device__ __forceinline__ u32 shared_address(const void *p) {
  return (u32)(u64)(const __attribute__((address_space(3))) void *)p;
}

// opaque gives v, and keeps the compiler from having at hand, in registers, what follows
// from it over a whole loop.
static __device__ __forceinline__ u32 opaque(u32 v) {
  asm volatile("" : "+r"(v));
  return v;
}

// ld_global_nc reads 16 bytes that no one writes during the kernel and that are
// read once: they pass by L1.
static __device__ __forceinline__ uint4 ld_global_nc(const void *p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}
// ld_global reads 16 bytes of global memory in one access; what the compiler makes of a
// structure's copy may be several.
static __device__ __forceinline__ uint4 ld_global(const void *p) {
  uint4 v;
  asm volatile("ld.global.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p)
               : "memory");
  return v;
}
// ld_global_if is load where in is true, and else zeros.
static __device__ __forceinline__ uint4 ld_global_if(const void *p, bool in) {
  uint4 v = {0, 0, 0, 0};
  asm volatile("{.reg .pred p; setp.ne.u32 p, %5, 0; @p ld.global.v4.u32 {%0,%1,%2,%3}, [%4];}"
               : "+r"(v.x), "+r"(v.y), "+r"(v.z), "+r"(v.w)
               : "l"(p), "r"((u32)in)
               : "memory");
  return v;
}
static __device__ __forceinline__ float4 ld_global_f4(const void *p) {
  float4 v;
  asm volatile("ld.global.v4.f32 {%0,%1,%2,%3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "l"(p)
               : "memory");
  return v;
}
// ld_shared reads 16 bytes of shared memory in one access, as load does.
static __device__ __forceinline__ uint4 ld_shared(const void *p) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(shared_address(p)));
  return v;
}
static __device__ __forceinline__ void prefetch_l2(const void *p) { asm volatile("prefetch.global.L2 [%0];" ::"l"(p)); }

// cp_async copies 16 bytes to shared memory, zeros where valid is false; they
// are there after commit and wait.
static __device__ __forceinline__ void cp_async(void *to, const void *from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(valid ? 16 : 0)
               : "memory");
}
static __device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// cp_async_wait returns when at most N of this thread's groups are under way.
template <int N> static __device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// ldmatrix reads four 8x8 matrices of 16-bit elements, their rows at the
// addresses of lanes 0-7, 8-15, 16-23, 24-31.
static __device__ __forceinline__ void ldmatrix(u32 (&r)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
static __device__ __forceinline__ void ldmatrix_trans(u32 (&r)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

// st_global writes 16 bytes of global memory.
static __device__ __forceinline__ void st_global(void *p, uint4 v) {
  asm volatile("st.global.v4.u32 [%0], {%1,%2,%3,%4};" ::"l"(p), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

// mma: C[16,8] += A[16,16] B[16,8], C float32. With g = lane/4, t = lane%4:
// a0 (g, 2t..), a1 (g+8, 2t..), a2 (g, 2t+8..), a3 (g+8, 2t+8..);
// b0 (2t.., g), b1 (2t+8.., g); c0,c1 (g, 2t..), c2,c3 (g+8, 2t..).
static __device__ __forceinline__ void mma_bf16(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
static __device__ __forceinline__ void mma_f16(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// mma_tf32: C[16,8] += A[16,8] B[8,8] of float32 with 10 bits of mantissa, as tf32
// gives them. a0 (g, t), a1 (g+8, t), a2 (g, t+4), a3 (g+8, t+4); b0 (t, g), b1
// (t+4, g); C as above.
static __device__ __forceinline__ void mma_tf32(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
// tf32 rounds to 10 bits of mantissa, to nearest, ties away from zero.
static __device__ __forceinline__ u32 tf32(float v) {
  u32 r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(v));
  return r;
}

// unpack_bytes gives two bytes of v, the lower two (0) or the upper (1), each in the lower half of
// 16 bits whose upper half is the lowest byte of above.
static __device__ __forceinline__ u32 unpack_bytes(u32 v, int upper, u32 above) {
  u32 r;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(v), "r"(above), "r"(upper ? 0x4342 : 0x4140));
  return r;
}
// and_or is v & mask | bits in one instruction, which the compiler does not find for two constants.
static __device__ __forceinline__ u32 and_or(u32 v, u32 mask, u32 bits) {
  u32 r;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(r) : "r"(v), "r"(mask), "r"(bits));
  return r;
}
// Sums of two pairs of 16-bit numbers; bfloat16 by a product with one, which sm_80 has.
static __device__ __forceinline__ u32 add_bf16(u32 a, u32 b) {
  u32 r;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(0x3f803f80), "r"(b));
  return r;
}
static __device__ __forceinline__ u32 add_f16(u32 a, u32 b) {
  u32 r;
  asm("add.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
  return r;
}
// round_to_int rounds to an integer, ties to even.
static __device__ __forceinline__ int round_to_int(double x) {
  int r;
  asm("cvt.rni.s32.f64 %0, %1;" : "=r"(r) : "d"(x));
  return r;
}

// pack rounds two floats to nearest even, lo in the lower half.
static __device__ __forceinline__ u32 pack_bf16(float lo, float hi) {
  u32 r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}
static __device__ __forceinline__ u32 pack_f16(float lo, float hi) {
  u32 r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}
static __device__ __forceinline__ float widen_f16(u16 h) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
  return f;
}

// fmax takes one instruction; it is the other where one is not a number.
static __device__ __forceinline__ float fmax(float a, float b) {
  float r;
  asm("max.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}
static __device__ __forceinline__ float exp2(float x) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
static __device__ __forceinline__ float rcp(float x) {
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
static __device__ __forceinline__ float log2(float x) {
  float r;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
static __device__ __forceinline__ float sqrt(float x) {
  float r;
  asm("sqrt.rn.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}

// atom_add_acq_rel counts in global memory and gives the value before.
static __device__ __forceinline__ u32 atom_add_acq_rel(u32 *p, u32 v) {
  u32 r;
  asm volatile("atom.add.acq_rel.gpu.global.u32 %0, [%1], %2;" : "=r"(r) : "l"(p), "r"(v) : "memory");
  return r;
}
// st_shared writes 16 bytes of shared memory.
static __device__ __forceinline__ void st_shared(void *to, uint4 v) {
  asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(shared_address(to)), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
               : "memory");
}
// atom_add_shared counts in shared memory and gives the value before.
static __device__ __forceinline__ u32 atom_add_shared(u32 *p, u32 v) {
  u32 r;
  asm volatile("atom.shared.add.u32 %0, [%1], %2;" : "=r"(r) : "r"(shared_address(p)), "r"(v) : "memory");
  return r;
}
static __device__ __forceinline__ void atom_add_shared(u64 *p, u64 v) {
  asm volatile("red.shared.add.u64 [%0], %1;" ::"r"(shared_address(p)), "l"(v) : "memory");
}
// fence_acq_rel_gpu orders this thread's global accesses before its later ones, for the
// whole device.
static __device__ __forceinline__ void fence_acq_rel_gpu() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }

} // namespace ptx

#ifdef HOPPER
#include "hopper.cuh"
#endif
#endif
