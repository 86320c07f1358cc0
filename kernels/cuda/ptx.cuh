// Everything that C++ has no word for: thread indices, barriers, warp exchanges,
// asynchronous copies, tensor-core products. Kernels call these functions and
// hold no assembly; the host emulation gives the same functions another body.
// PTX ISA sections: 9.7.9 (data movement), 9.7.13 (barriers), 9.7.14 (mma).
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// Accesses of 16 and 8 bytes.
struct alignas(16) V4 {
  u32 x, y, z, w;
};
struct alignas(16) F4 {
  float x, y, z, w;
};
struct alignas(8) V2 {
  u32 x, y;
};
struct alignas(8) F2 {
  float x, y;
};

#ifdef CUEMU
#include "../emu/emu.h"
#else

#define DEVICE static inline __attribute__((device, always_inline))
#define MEMBER inline __attribute__((device, always_inline))
#define KERNEL(threads, blocks, name, ...) \
  extern "C" __attribute__((global, launch_bounds(threads, blocks))) void name(__VA_ARGS__)

namespace ptx {

DEVICE int tid() { return __nvvm_read_ptx_sreg_tid_x(); }
DEVICE int bidx() { return __nvvm_read_ptx_sreg_ctaid_x(); }
DEVICE int bidy() { return __nvvm_read_ptx_sreg_ctaid_y(); }
DEVICE int bidz() { return __nvvm_read_ptx_sreg_ctaid_z(); }
DEVICE int gridx() { return __nvvm_read_ptx_sreg_nctaid_x(); }
DEVICE int gridy() { return __nvvm_read_ptx_sreg_nctaid_y(); }

// shared is the block's dynamic shared memory; the kernels use no other.
extern __attribute__((shared, aligned(128))) u8 shared_memory[];
DEVICE u8 *shared() { return shared_memory; }
DEVICE u32 shared_address(const void *p) {
  return (u32)(u64)(const __attribute__((address_space(3))) void *)p;
}

// sync is a barrier of the whole block.
DEVICE void sync() { __syncthreads(); }

// Warp exchanges; all 32 lanes take part.
DEVICE u32 shfl_xor(u32 v, int mask) {
  u32 r;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, 0xffffffff;" : "=r"(r) : "r"(v), "r"(mask));
  return r;
}
DEVICE float shfl_xor(float v, int mask) {
  return __builtin_bit_cast(float, shfl_xor(__builtin_bit_cast(u32, v), mask));
}
DEVICE double shfl_xor(double v, int mask) {
  u64 b = __builtin_bit_cast(u64, v);
  return __builtin_bit_cast(double, (u64)shfl_xor((u32)b, mask) | (u64)shfl_xor((u32)(b >> 32), mask) << 32);
}

// load_once reads 16 bytes that no one writes during the kernel and that are
// read once: they pass by L1.
DEVICE V4 load_once(const void *p) {
  V4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
  return v;
}
// load reads 16 bytes of global memory in one access; what the compiler makes of a
// structure's copy may be several.
DEVICE V4 load(const void *p) {
  V4 v;
  asm volatile("ld.global.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p) : "memory");
  return v;
}
DEVICE F4 load_floats(const void *p) {
  F4 v;
  asm volatile("ld.global.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(p) : "memory");
  return v;
}
DEVICE void prefetch(const void *p) { asm volatile("prefetch.global.L2 [%0];" ::"l"(p)); }

// cp_async copies 16 bytes to shared memory, zeros where valid is false; they
// are there after commit and wait.
DEVICE void cp_async(void *to, const void *from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(valid ? 16 : 0)
               : "memory");
}
DEVICE void cp_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// cp_wait returns when at most N of this thread's groups are under way.
template <int N> DEVICE void cp_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

// ldmatrix reads four 8x8 matrices of 16-bit elements, their rows at the
// addresses of lanes 0-7, 8-15, 16-23, 24-31.
DEVICE void ldmatrix(u32 (&r)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
DEVICE void ldmatrix_trans(u32 (&r)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}

// mma: C[16,8] += A[16,16] B[16,8], C float32. With g = lane/4, t = lane%4:
// a0 (g, 2t..), a1 (g+8, 2t..), a2 (g, 2t+8..), a3 (g+8, 2t+8..);
// b0 (2t.., g), b1 (2t+8.., g); c0,c1 (g, 2t..), c2,c3 (g+8, 2t..).
DEVICE void mma_bf16(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
DEVICE void mma_f16(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// mma_tf32: C[16,8] += A[16,8] B[8,8] of float32 with 10 bits of mantissa, as tf32
// gives them. a0 (g, t), a1 (g+8, t), a2 (g, t+4), a3 (g+8, t+4); b0 (t, g), b1
// (t+4, g); C as above.
DEVICE void mma_tf32(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
// tf32 rounds to 10 bits of mantissa, to nearest, ties away from zero.
DEVICE u32 tf32(float v) {
  u32 r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(v));
  return r;
}

// bytes_apart gives two bytes of v, each in 16 bits: the lower two (0) or the upper (1).
DEVICE u32 bytes_apart(u32 v, int upper) {
  u32 r;
  asm("prmt.b32 %0, %1, 0, %2;" : "=r"(r) : "r"(v), "r"(upper ? 0x4342 : 0x4140));
  return r;
}
// Sums of two pairs of 16-bit numbers; bfloat16 by a product with one, which sm_80 has.
DEVICE u32 add_bf16(u32 a, u32 b) {
  u32 r;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(0x3f803f80), "r"(b));
  return r;
}
DEVICE u32 add_f16(u32 a, u32 b) {
  u32 r;
  asm("add.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
  return r;
}
// nearest rounds to an integer, ties to even.
DEVICE int nearest(double x) {
  int r;
  asm("cvt.rni.s32.f64 %0, %1;" : "=r"(r) : "d"(x));
  return r;
}

// pack rounds two floats to nearest even, lo in the lower half.
DEVICE u32 pack_bf16(float lo, float hi) {
  u32 r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}
DEVICE u32 pack_f16(float lo, float hi) {
  u32 r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}
DEVICE float widen_f16(u16 h) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
  return f;
}

DEVICE float exp2(float x) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
DEVICE float log2(float x) {
  float r;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
DEVICE float sqrt(float x) {
  float r;
  asm("sqrt.rn.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}

// add counts in global memory and gives the value before.
DEVICE u32 add(u32 *p, u32 v) {
  u32 r;
  asm volatile("atom.add.acq_rel.gpu.global.u32 %0, [%1], %2;" : "=r"(r) : "l"(p), "r"(v) : "memory");
  return r;
}
// add_shared counts in shared memory and gives the value before.
DEVICE u32 add_shared(u32 *p, u32 v) {
  u32 r;
  asm volatile("atom.shared.add.u32 %0, [%1], %2;" : "=r"(r) : "r"(shared_address(p)), "r"(v) : "memory");
  return r;
}
DEVICE void add_shared(u64 *p, u64 v) {
  asm volatile("red.shared.add.u64 [%0], %1;" ::"r"(shared_address(p)), "l"(v) : "memory");
}
// fence orders this thread's global accesses before its later ones, for the
// whole device.
DEVICE void fence() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }

// after_previous waits until the kernel before has ended and its writes are
// seen; release lets the kernel after start. Both are nothing where launches
// do not overlap.
DEVICE void after_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
DEVICE void release() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

} // namespace ptx
#endif
